import type { Credential } from "@paddock/api/network";
import { credentialSubject, egressCredential } from "@paddock/api/names";
import { open } from "node:fs/promises";
import type { Redactor } from "../redaction.ts";
import { basicPair } from "./inject.ts";

/** More than any header may be long anyway. */
const MOST_BYTES = 8_192;

/** The values of an Environment's credentials, from the files that the kubelet keeps up to date. */
export interface CredentialValues {
  /** The value as it is now, or what is wrong with it: a sentence that names Secret and key, for the program's user. */
  read(credential: Credential): Promise<{ readonly value: string } | { readonly problem: string }>;
  /** Every value that was read since the process started, and what became of it in headers: a rotated one may still come back. */
  readonly known: () => ReadonlySet<string>;
}

export interface CredentialPorts {
  /** The file that holds a credential, by the name that egressCredential makes. */
  readonly credentialFile: (name: string) => string;
  readonly redactor: Pick<Redactor, "add">;
  /** Told once when a credential cannot be used, and again after it could; `subject` as in problems of the log. */
  readonly onMissing: (report: { readonly subject: string; readonly message: string }) => void;
}

/** Files are read each time: small, in memory, and rotation counts at once. */
export function createCredentialValues({ credentialFile, redactor, onMissing }: CredentialPorts): CredentialValues {
  const known = new Set<string>();
  const told = new Map<string, string>();
  const remember = (secret: string): void => {
    if (known.has(secret)) return;
    known.add(secret);
    redactor.add(secret);
  };
  return {
    known: () => known,
    async read(credential) {
      const subject = credentialSubject(credential.secretKeyRef);
      const text = await readFileAt(credentialFile(egressCredential(credential.name)));
      const checked = checkValue(text, credential);
      if ("value" in checked) {
        told.delete(credential.name);
        remember(checked.value);
        if (credential.inject?.basicUsername !== undefined) remember(basicPair(credential.inject.basicUsername, checked.value));
        return checked;
      }
      const problem = `Credential ${credential.name} cannot be used: ${subject} ${checked.problem}.`;
      if (told.get(credential.name) !== problem) onMissing({ subject, message: problem });
      told.set(credential.name, problem);
      return { problem };
    },
  };
}

/** The file's text; undefined when there is none. At most one byte more than a value may have. */
async function readFileAt(path: string): Promise<Buffer | undefined> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MOST_BYTES + 2), 0, MOST_BYTES + 2, 0);
    return buffer.subarray(0, bytesRead);
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

/** One newline at the end is what editors leave; any other would let a value end the header that it stands in. Pure. */
function checkValue(bytes: Buffer | undefined, { inject }: Credential): { readonly value: string } | { readonly problem: string } {
  if (bytes === undefined) return { problem: "does not exist: create it, or name another one in spec.credentials[].secretKeyRef" };
  const value = bytes.toString("utf8").replace(/\r?\n$/, "");
  if (value === "") return { problem: "is empty: write the credential into it" };
  if (Buffer.byteLength(value) > MOST_BYTES) return { problem: `is longer than ${MOST_BYTES} bytes: no header may be so long` };
  if (/[\u0000-\u001f\u007f]/.test(value)) return { problem: "has a newline or another control character inside: write the credential alone, on one line" };
  if (inject?.basicUsername === undefined && /[^ -~]/.test(value)) return { problem: "has characters that a header cannot hold: only printable ASCII goes there" };
  return { value };
}
