import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { SecureClientSessionOptions } from "node:http2";

/** TLS members of a connection; read anew for each session, because CA and client certificate are replaced while we run. */
export type Tls = Pick<SecureClientSessionOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;

/** Where the API server is and how we prove who we are. */
export interface Connection {
  /** Origin, e.g. https://10.96.0.1:443. */
  readonly url: string;
  tls(): Promise<Tls>;
  /** Value of the header `authorization`; undefined when the client certificate is the proof. `fresh` skips what is remembered. */
  authorization(fresh: boolean): Promise<string | undefined>;
}

/** Where the kubelet puts a pod's service account. */
export const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";

// The kubelet replaces tokens long before they expire; a minute late is early enough.
const TOKEN_AGE_MS = 60_000;

/** A pod's own API server: address from the environment, CA and token from the kubelet's files. */
export function connectInCluster(host: string, port: number, directory = SERVICE_ACCOUNT_DIRECTORY): Connection {
  const token = tokenFile(join(directory, "token"));
  return {
    url: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    tls: async () => ({ ca: await readFile(join(directory, "ca.crt"), "utf8") }),
    authorization: async (fresh) => `Bearer ${await token(fresh)}`,
  };
}

/** A token that somebody else keeps fresh in a file; read again once a minute, or at once when `fresh`. Throws as readFile does. */
export function tokenFile(path: string): (fresh: boolean) => Promise<string> {
  let read: { readonly text: string; readonly at: number } | undefined;
  return async (fresh) => {
    if (fresh || read === undefined || performance.now() - read.at > TOKEN_AGE_MS) {
      read = { text: (await readFile(path, "utf8")).trim(), at: performance.now() };
    }
    return read.text;
  };
}

/** The current context of a kubeconfig. `path` undefined means the usual places. Throws when there is no cluster in it. */
export async function connectKubeconfig(path: string | undefined): Promise<Connection> {
  // Half a second and 88 MB to load: only here, never inside a cluster.
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  if (path === undefined) config.loadFromDefault();
  else config.loadFromFile(path);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error(`the kubeconfig ${path ?? "found by default"} has no current context with a cluster: set current-context`);
  const options = async () => {
    const filled: FilledOptions = {};
    await config.applyToHTTPSOptions(filled);
    return filled;
  };
  return {
    url: new URL(cluster.server).origin,
    tls: async () => {
      const { ca, cert, key, servername, rejectUnauthorized } = await options();
      return { ...defined({ ca, cert, key, servername, rejectUnauthorized }) };
    },
    authorization: async () => {
      const { headers } = await options();
      return headers?.Authorization ?? headers?.authorization;
    },
  };
}

interface FilledOptions extends Tls {
  headers?: Record<string, string>;
}

function defined(members: { readonly [Name in keyof Tls]: Tls[Name] | undefined }): Tls {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
