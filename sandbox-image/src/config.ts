import { isIP } from "node:net";
import type { SANDBOX_TRUST_DIRECTORY } from "@paddock/api/names";

const TRUST: typeof SANDBOX_TRUST_DIRECTORY = "/run/paddock/trust";

/** What the tool server is told, and what is the same in every pod. */
export interface Config {
  /** Where commands run and relative paths start. */
  readonly workspace: string;
  /** HOME of commands: beside the workspace, so that no tool's dotfiles get into it. Made when missing. */
  readonly home: string;
  /** PATH of commands, as the image sets it. */
  readonly path: string;
  /** Where the runner finds the tool server. */
  readonly toolPort: number;
  /** Where the certificates that programs trust are written; a volume of its own. */
  readonly trust: string;
  /** The cluster's API server as every pod is told; an IP address. */
  readonly apiServer?: { readonly host: string; readonly port: number };
  /** IP address of the pod's node. */
  readonly node?: string;
}

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Reads the environment. Throws a sentence that names the variable. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const workspace = env.PADDOCK_WORKSPACE ?? "/workspace";
  if (!workspace.startsWith("/")) throw new Error(`PADDOCK_WORKSPACE must be an absolute path, not ${JSON.stringify(workspace)}`);
  const node = env.PADDOCK_HOST_IP;
  if (node !== undefined && isIP(node) === 0) throw new Error(`PADDOCK_HOST_IP must be an IP address, not ${JSON.stringify(node)}`);
  return { workspace, home: "/tmp/home", path: env.PATH ?? DEFAULT_PATH, toolPort: 8080, trust: TRUST, ...readApiServer(env), ...(node !== undefined && { node }) };
}

/** A name is left out: nothing resolves it here, so nothing is reached by it. */
function readApiServer({ KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "443" }: NodeJS.ProcessEnv): Pick<Config, "apiServer"> {
  if (isIP(host) === 0) return {};
  if (!/^\d{1,5}$/.test(port)) throw new Error(`KUBERNETES_SERVICE_PORT must be a port, not ${JSON.stringify(port)}`);
  return { apiServer: { host, port: Number(port) } };
}
