import type { ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** A payload that an event of the session references, as UTF-8 text. Throws ProblemError when none does, whoever else has it. */
export async function sendBlob({ store }: ApiPorts, uid: string, digest: string): Promise<Response> {
  if (!DIGEST.test(digest)) throw new ProblemError("malformed", `${JSON.stringify(digest.slice(0, 80))} names no blob: give the member sha256 of an event's data.blob, sha256: and 64 hexadecimal digits`);
  const text = await store.blob(uid, digest);
  if (text === undefined) throw new ProblemError("not-found", `no event of session ${uid} references ${digest}: a blob is read through the session whose event names it`);
  // The text is whatever a model or a tool wrote: no browser may take it for a page.
  return new Response(text, { headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff", "content-security-policy": "sandbox", "cache-control": "no-store" } });
}
