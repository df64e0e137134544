import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { connect, createSecureContext, rootCertificates } from "node:tls";
import type { SecureContext, TLSSocket } from "node:tls";
import { buildDenial, isDenial, whereOf } from "./decision.ts";
import type { Dial, EgressConnection, EgressDenial, EgressTarget } from "./policy.ts";

/** Whom the proxy believes on the far side: public authorities, and those of the Environment. */
export interface UpstreamTrust {
  /** Undefined when the Environment's authorities cannot be read. */
  context(): Promise<SecureContext | undefined>;
}

/** `bundleFile`: the Environment's caBundle in PEM, which may be absent; read again when it has changed. */
export function createUpstreamTrust(bundleFile: string): UpstreamTrust {
  let known: { readonly bundle: string; readonly context: SecureContext | undefined } | undefined;
  return {
    async context() {
      const bundle = await readFile(bundleFile, "utf8").catch(() => "");
      // Parsing every public authority takes some milliseconds: once, not for each connection.
      if (known?.bundle !== bundle) known = { bundle, context: contextOf(bundle) };
      return known.context;
    },
  };
}

/** Without the Environment's own authorities no host is believed that they might have spoken for: nobody would find the mistake. */
function contextOf(bundle: string): SecureContext | undefined {
  if (bundle.trim() === "") return createSecureContext({ minVersion: "TLSv1.2" });
  const certificates = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
    return certificates.length === 0 ? undefined : createSecureContext({ ca: [...rootCertificates, ...certificates], minVersion: "TLSv1.2" });
  } catch {
    return undefined;
  }
}

export interface UpstreamPorts {
  readonly dial: Dial;
  readonly trust: UpstreamTrust;
  /** Of the Environment, for sentences. */
  readonly environment: string;
  readonly handshakeMs: number;
}

/** A connection to the target, checked and, unless the program speaks plain HTTP, encrypted. `alpn`: what may be spoken. */
export async function openUpstream(
  { dial, trust, environment, handshakeMs }: UpstreamPorts,
  { target, signal }: Pick<EgressConnection, "target" | "signal">,
  { entries, alpn }: { readonly entries: readonly number[]; readonly alpn: readonly string[] | undefined },
): Promise<Socket | TLSSocket | EgressDenial> {
  const socket = await dial(target, entries, signal);
  if (isDenial(socket)) return socket;
  endWith(signal, socket);
  if (alpn === undefined) return socket;
  const secureContext = await trust.context();
  if (secureContext === undefined) {
    socket.destroy();
    return unreachable(target, `the certificates of spec.network.caBundle of Environment ${environment} cannot be read: write PEM there, each certificate from BEGIN to END`);
  }
  return new Promise((done) => {
    const secure = connect({ socket, host: target.host, servername: target.host, secureContext, ALPNProtocols: [...alpn], rejectUnauthorized: true });
    const fail = (denial: EgressDenial): void => {
      clearTimeout(timer);
      secure.destroy();
      socket.destroy();
      done(denial);
    };
    const timer = setTimeout(() => { fail({ ...unreachable(target, `it did not finish the TLS handshake within ${handshakeMs / 1000} s`), status: 504 }); }, handshakeMs);
    // For good: who takes the socket over adds listeners later.
    secure.on("error", (error: NodeJS.ErrnoException) => { fail(explainTls(target, environment, error)); });
    secure.once("close", () => { fail(unreachable(target, "it closed the connection during the TLS handshake")); });
    secure.once("secureConnect", () => {
      clearTimeout(timer);
      done(secure);
    });
  });
}

/** Whoever it was made for may be gone before it is handed over. */
function endWith(signal: AbortSignal, socket: Socket): void {
  const end = (): void => { socket.destroy(); };
  signal.addEventListener("abort", end, { once: true });
  socket.once("close", () => { signal.removeEventListener("abort", end); });
  if (signal.aborted) end();
}

const UNKNOWN_AUTHORITY = new Set(["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN", "DEPTH_ZERO_SELF_SIGNED_CERT", "UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "CERT_UNTRUSTED"]);

/** Nothing of the error but its kind: its text may hold addresses and whole certificates. Pure. */
export function explainTls(target: EgressTarget, environment: string, { code = "unknown" }: Pick<NodeJS.ErrnoException, "code">): EgressDenial {
  if (UNKNOWN_AUTHORITY.has(code)) {
    return unreachable(target, `its certificate is signed by an authority that is not known. When it is your organization's own, add it to spec.network.caBundle of Environment ${environment}`);
  }
  if (code === "CERT_HAS_EXPIRED") return unreachable(target, "its certificate has expired");
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return unreachable(target, "its certificate is for other names");
  return unreachable(target, `the TLS handshake failed (${code})`);
}

/** Allowed, and it did not work: `why` is the second half of the sentence. Pure. */
export function unreachable(target: EgressTarget, why: string): EgressDenial {
  return buildDenial("Unreachable", `Paddock could not reach ${whereOf(target)}: ${why}.`);
}
