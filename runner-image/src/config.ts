import { credentialPath, SANDBOX_PORT } from "@paddock/api/names";

/** All that the operator takes: it passes its own level on. */
const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;

/** Everything the runner is told from outside; paths and ports that are the same in every pod have their constant as value. */
export interface Config {
  readonly gatewayUrl: URL;
  /** Certificate of the gateway's CA, PEM. */
  readonly gatewayCa: string;
  readonly podName: string;
  readonly podUid: string;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  /** File with the pod's token for the gateway; the kubelet replaces it before it expires. */
  readonly tokenFile: string;
  /** The file that holds the credential called NAME. */
  readonly credentialFile: (name: string) => string;
  readonly sandboxPort: number;
}

/** The configuration of this process. */
export function readConfig(): Config {
  return parseConfig(process.env);
}

/** The environment as one checked object. Throws RangeError with the variable's name and what to set it to. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  return {
    gatewayUrl: httpsUrl("PADDOCK_GATEWAY_URL", required(env, "PADDOCK_GATEWAY_URL")),
    gatewayCa: required(env, "PADDOCK_GATEWAY_CA"),
    podName: required(env, "PADDOCK_POD_NAME"),
    podUid: required(env, "PADDOCK_POD_UID"),
    logLevel: logLevel(env["PADDOCK_LOG_LEVEL"] ?? "info"),
    tokenFile: "/run/paddock/token/token",
    credentialFile: credentialPath,
    sandboxPort: SANDBOX_PORT,
  };
}

function required(env: Readonly<Record<string, string | undefined>>, name: string): string {
  const value = env[name];
  if (value === undefined || value === "") throw new RangeError(`${name} is not set: the operator sets it in every runner pod`);
  return value;
}

function httpsUrl(name: string, value: string): URL {
  const url = URL.parse(value);
  if (url?.protocol !== "https:") throw new RangeError(`${name} is ${JSON.stringify(value)}: set it to an https:// URL`);
  return url;
}

function logLevel(value: string): Config["logLevel"] {
  const level = LOG_LEVELS.find((known) => known === value);
  if (level === undefined) throw new RangeError(`PADDOCK_LOG_LEVEL is ${JSON.stringify(value)}: set it to one of ${LOG_LEVELS.join(", ")}`);
  return level;
}
