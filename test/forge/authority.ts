import { issueServing, makeAuthority, parseAuthority } from "../../gateway/src/tls/authority.ts";
import type { Certificate } from "./server.ts";

/** A certificate for the names, from an authority made for this one test. `ca`: PEM of the authority. */
export async function issueForge(names: readonly string[]): Promise<Certificate & { readonly ca: string }> {
  const now = new Date();
  const authority = parseAuthority(await makeAuthority(now));
  const { certificate, key } = await issueServing(authority, names, now);
  return { cert: certificate, key, ca: authority.certificate };
}
