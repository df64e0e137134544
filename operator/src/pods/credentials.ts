import { posix } from "node:path";
import type { EnvironmentSpec } from "@paddock/api/environment";
import { CA_BUNDLE_PATH, credentialPath, egressCredential, modelCredential, shorten } from "@paddock/api/names";
import { READ_ONLY_MODE } from "./security.ts";

interface KeyRef {
  readonly name: string;
  readonly key: string;
}

/** Volumes of what an Environment lets its runners read, each with one key as one file. */
export interface ReadOnlyFiles {
  readonly volumes: readonly { readonly name: string; readonly secret?: object; readonly configMap?: object }[];
  readonly mounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly: true }[];
}

/**
 * Keys of models, credentials of the proxy, and authorities. Whole directories, so that a rotated value arrives; optional, so that the pod starts and the
 * runner itself says what is missing. A model and a credential of one name differ in their prefix, which shortening leaves. Pure.
 */
export function buildRunnerFiles({ models, credentials = [], network }: EnvironmentSpec): ReadOnlyFiles {
  const secrets = [
    ...models.flatMap(({ name, apiKey }) => (apiKey === undefined ? [] : [{ credential: modelCredential(name), ref: apiKey.secretKeyRef }])),
    ...credentials.map(({ name, secretKeyRef }) => ({ credential: egressCredential(name), ref: secretKeyRef })),
  ];
  const files = [
    ...secrets.map(({ credential, ref }) => {
      const path = credentialPath(credential);
      return { name: shorten(credential), path, source: { secret: { secretName: ref.name, ...oneKey(ref, path) } } };
    }),
    ...authoritiesOf(network?.caBundle?.configMapKeyRef),
  ];
  return {
    volumes: files.map(({ name, source }) => ({ name, ...source })),
    mounts: files.map(({ name, path }) => ({ name, mountPath: posix.dirname(path), readOnly: true })),
  };
}

function authoritiesOf(ref: KeyRef | undefined) {
  return ref === undefined ? [] : [{ name: "ca", path: CA_BUNDLE_PATH, source: { configMap: { name: ref.name, ...oneKey(ref, CA_BUNDLE_PATH) } } }];
}

function oneKey({ key }: KeyRef, path: string) {
  return { optional: true, defaultMode: READ_ONLY_MODE, items: [{ key, path: posix.basename(path) }] };
}
