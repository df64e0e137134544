import { readFile } from "node:fs/promises";
import type { ModelEndpoint } from "@paddock/api/environment";
import { credentialSubject, modelCredential } from "@paddock/api/names";
import type { Redactor } from "../redaction.ts";

/** What is known of an endpoint's API key; `missing` carries what to make for it to appear. */
export type Credential =
  | { readonly kind: "none" }
  | { readonly kind: "key"; readonly value: string }
  | { readonly kind: "missing"; readonly subject: string; readonly message: string };

export interface CredentialSource {
  readonly credentialFile: (name: string) => string;
  readonly redactor: Redactor;
}

/**
 * The API key of a model's endpoint as its file has it now: the kubelet replaces the file when the Secret changes. What is read is
 * known to the redactor from then on.
 */
export async function readCredential({ name, apiKey }: ModelEndpoint, { credentialFile, redactor }: CredentialSource): Promise<Credential> {
  if (apiKey === undefined) return { kind: "none" };
  const value = await readFile(credentialFile(modelCredential(name)), "utf8").then(
    (text) => text.trim(),
    () => "",
  );
  if (value !== "") {
    redactor.add(value);
    return { kind: "key", value };
  }
  const { name: secret, key } = apiKey.secretKeyRef;
  const subject = credentialSubject(apiKey.secretKeyRef);
  const message = `The API key of model ${name} is not there: create the Secret ${secret} with a non-empty key ${key} in the session's namespace. The session goes on by itself, within two minutes of that.`;
  return { kind: "missing", subject, message };
}
