// The certificate library's container needs this before its first import.
import "reflect-metadata";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { webcrypto } from "node:crypto";
import { isIP } from "node:net";
import { z } from "zod";

const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
const SERVING_DAYS = 90;
/** Clocks of pods may be behind. */
const BACKDATED_MS = 3_600_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** The gateway's own certificate authority: PEM certificate and PKCS #8 key. */
export interface Authority {
  readonly certificate: string;
  readonly key: string;
}

/** A serving certificate with its key, PEM, and when a new one should take its place (epoch milliseconds). */
export interface Serving {
  readonly certificate: string;
  readonly key: string;
  readonly renewAt: number;
}

const authoritySchema = z.object({ certificate: z.string(), key: z.string() });

/** A new authority, as text for the store. It signs serving certificates and no further authority. */
export async function makeAuthority(now: Date): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=paddock-gateway-ca",
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity(now, AUTHORITY_DAYS),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const authority: Authority = { certificate: certificate.toString("pem"), key: await exportKey(keys.privateKey) };
  return JSON.stringify(authority);
}

/** The authority in a stored text. Throws when it is not one. */
export function parseAuthority(text: string): Authority {
  return authoritySchema.parse(JSON.parse(text));
}

/** A serving certificate for these DNS names and addresses. */
export async function issueServing(authority: Authority, names: readonly string[], now: Date): Promise<Serving> {
  const issuer = new X509Certificate(authority.certificate);
  const signingKey = await importKey(authority.key);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const period = validity(now, SERVING_DAYS);
  const certificate = await X509CertificateGenerator.create({
    subject: "CN=paddock-gateway",
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    ...period,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }))),
      await AuthorityKeyIdentifierExtension.create(issuer),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const renewAt = now.getTime() + (SERVING_DAYS * DAY_MS * 2) / 3;
  return { certificate: certificate.toString("pem"), key: await exportKey(keys.privateKey), renewAt };
}

function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now.getTime() - BACKDATED_MS), notAfter: new Date(now.getTime() + days * DAY_MS) };
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${base64.replace(/.{64}/g, "$&\n").trimEnd()}\n-----END PRIVATE KEY-----\n`;
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ""), "base64");
  return webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
}
