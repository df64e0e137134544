import type * as Library from "@peculiar/x509";
import { randomBytes, webcrypto } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { SecureContext } from "node:tls";
import { nameConstraints } from "./authority-names.ts";

const DAY_MS = 86_400_000;
/** Longer than any session's pod may live. */
const LIFE_MS = 8 * DAY_MS;
/** Clocks of pods may be behind. */
const BACKDATED_MS = 3_600_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Hosts whose certificate is kept. A program that asks for more names below a wildcard than this only makes us sign again. */
const MOST_LEAVES = 256;

/**
 * The authority that a runner process makes for one epoch of a session: it signs the certificates that programs of the sandbox see for hosts whose
 * requests the proxy has to see. Its key is in this process's memory only, cannot be exported from the key object that signs, and dies with it.
 */
export interface EgressAuthority {
  /** For the sandbox's trust, PEM. */
  readonly certificate: string;
  /** Certificate and key for one host, made once and kept. */
  leafFor(host: string): Promise<SecureContext>;
}

export interface AuthorityOptions {
  /** The Session's uid. */
  readonly uid: string;
  /** Host patterns whose connections are terminated: clients accept the authority for these names only. */
  readonly hosts: readonly string[];
  readonly now: Date;
}

/**
 * A new authority. Loads the certificate library, which takes some 10 MB of memory: not to be called where nothing is terminated.
 */
export async function makeEgressAuthority({ uid, hosts, now }: AuthorityOptions): Promise<EgressAuthority> {
  const x509 = await loadLibrary();
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
  const period = { notBefore: new Date(now.getTime() - BACKDATED_MS), notAfter: new Date(now.getTime() + LIFE_MS) };
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`Paddock session ${uid}`] }],
    keys,
    signingAlgorithm: ALGORITHM,
    ...period,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.Extension("2.5.29.30", true, nameConstraints(hosts)),
    ],
  });

  const makeLeaf = async (host: string): Promise<SecureContext> => {
    // Exportable, because TLS takes keys as PEM only; worth nothing outside the sandbox, which trusts it as long as this process lives.
    const own = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      // No host's name: SAN names it, and a name in the subject would have to fit into 64 characters.
      subject: [{ CN: ["Paddock egress proxy"] }],
      issuer: root.subjectName,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...period,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: host }]),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(own.publicKey),
      ],
    });
    return createSecureContext({ cert: leaf.toString("pem"), key: await exportKey(own.privateKey), minVersion: "TLSv1.2" });
  };

  return { certificate: `${root.toString("pem").trimEnd()}\n`, leafFor: keepNewest(MOST_LEAVES, makeLeaf) };
}

/** Imported when it is needed: the library's container wants reflect-metadata before its first import. */
async function loadLibrary(): Promise<typeof Library> {
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

/** Remembers results of the `most` keys used last; one call per key, however many ask at the same time. What failed is asked again. */
export function keepNewest<T>(most: number, make: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const kept = new Map<string, Promise<T>>();
  return (key) => {
    const made = kept.get(key) ?? make(key);
    kept.delete(key);
    kept.set(key, made);
    made.catch(() => {
      if (kept.get(key) === made) kept.delete(key);
    });
    const [oldest] = kept.keys();
    if (kept.size > most && oldest !== undefined) kept.delete(oldest);
    return made;
  };
}

/** 128 bits, positive and without a leading zero octet, whatever a reader makes of the first bit. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${base64.replace(/.{64}/g, "$&\n").trimEnd()}\n-----END PRIVATE KEY-----\n`;
}
