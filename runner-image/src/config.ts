import { isIP } from "node:net";
import { CA_BUNDLE_PATH, credentialPath, SANDBOX_PORT } from "@paddock/api/names";
import type { Canary } from "./sandbox/bind.ts";

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
  /** CIDRs that no host stands for unless the Environment says so. */
  readonly privateRanges: readonly string[];
  /** Addresses that no sandbox must reach, tried by each new one. */
  readonly canaries: readonly Canary[];
  /** Where authorities of the Environment's own are, when it names some. */
  readonly caBundleFile: string;
  /** Names the cluster's name servers. */
  readonly resolvConfFile: string;
}

/** Each new sandbox tries all of them, within three seconds. */
const MOST_CANARIES = 16;

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
    privateRanges: texts(env, "PADDOCK_PRIVATE_RANGES").map(cidr),
    canaries: canaries(env),
    caBundleFile: CA_BUNDLE_PATH,
    resolvConfFile: "/etc/resolv.conf",
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

/** A JSON list of texts; empty when the variable is not set. */
function texts(env: Readonly<Record<string, string | undefined>>, name: string): readonly string[] {
  const value = env[name] ?? "[]";
  const list = parseJson(value);
  if (Array.isArray(list) && list.every((one) => typeof one === "string")) return list;
  throw new RangeError(`${name} is ${JSON.stringify(value)}: set it to a JSON list of texts, such as []`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function cidr(text: string): string {
  const [, address = "", bits = ""] = /^([^/]+)\/([0-9]{1,3})$/.exec(text) ?? [];
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  if (bits === "" || Number(bits) > most) throw new RangeError(`PADDOCK_PRIVATE_RANGES holds ${JSON.stringify(text)}: write a CIDR such as 10.0.0.0/8 or fc00::/7 (network.privateRanges of the chart)`);
  return text;
}

function canaries(env: Readonly<Record<string, string | undefined>>): readonly Canary[] {
  const list = texts(env, "PADDOCK_CANARIES").map(canary);
  if (list.length > MOST_CANARIES) throw new RangeError(`PADDOCK_CANARIES holds ${list.length} addresses: leave at most ${MOST_CANARIES} (isolation.canaries of the chart)`);
  return list;
}

function canary(text: string): Canary {
  const [, bracketed, plain = "", port = ""] = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const isAddress = isIP(host) === (bracketed === undefined ? 4 : 6);
  if (isAddress && Number(port) >= 1 && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new RangeError(`PADDOCK_CANARIES holds ${JSON.stringify(text)}: write IP:port, such as 192.0.2.1:80 or [2001:db8::1]:80 (isolation.canaries of the chart)`);
}

function logLevel(value: string): Config["logLevel"] {
  const level = LOG_LEVELS.find((known) => known === value);
  if (level === undefined) throw new RangeError(`PADDOCK_LOG_LEVEL is ${JSON.stringify(value)}: set it to one of ${LOG_LEVELS.join(", ")}`);
  return level;
}
