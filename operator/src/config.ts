import { isIP } from "node:net";
import { z } from "zod";
import { type NetworkPolicyPeer, isPropagable } from "./settings.ts";

/** The operator's configuration, checked; see `read` for names and defaults. */
export interface Config {
  readonly namespace: string;
  /** Empty means all. */
  readonly watchNamespaces: readonly string[];
  readonly gatewayUrl: string;
  readonly runnerImage: string;
  readonly sandboxImage: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly dnsPeers: readonly NetworkPolicyPeer[];
  readonly privateRanges: readonly string[];
  /** `IP:port` each. */
  readonly canaries: readonly string[];
  readonly propagatedLabels: readonly string[];
  /** The release has the admission policy that stamps creators: only where the API server serves such policies. */
  readonly creatorStamp: boolean;
  readonly logLevel: string;
  /** File with our token for the gateway. */
  readonly tokenFile: string;
  /** Name of our own pod; "" outside of a cluster. */
  readonly podName: string;
  /** How long other operators wait for the leader's next sign of life before one of them takes over. */
  readonly leaseSeconds: number;
  /** Where /healthz, /readyz and /metrics are served. */
  readonly metricsPort: number;
  /** Address that we reach the gateway at, when it differs from the one that runners use. */
  readonly gatewayDialUrl: string;
  /** The API server: a pod's own, or a kubeconfig's current context. */
  readonly apiServer: { readonly host: string; readonly port: number } | { readonly kubeconfig: string | undefined };
}

/** A variable that is missing or wrong. */
export class ConfigError extends Error {}

/** A probe has three seconds for all of its targets. */
const MAX_CANARIES = 16;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_KEY = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const label = z.string().max(63).regex(LABEL);
const labels = z.record(z.string(), z.string());
const selector = z.object({ matchLabels: labels.optional() });
const cidr = z.union([z.cidrv4(), z.cidrv6()]);
const address = z.string().max(64).refine(isAddressWithPort);
const peers = z.array(
  z.object({
    namespaceSelector: selector.optional(),
    podSelector: selector.optional(),
    ipBlock: z.object({ cidr, except: z.array(cidr).optional() }).optional(),
  }),
);

type Environment = Readonly<Record<string, string | undefined>>;

/** What may be wrong with one variable and how it is put right. */
interface Rule<T> {
  readonly schema: z.ZodType<T>;
  readonly fix: string;
  readonly fallback?: string;
}

const RULES = {
  PADDOCK_NAMESPACE: rule(label, "set it to the release's namespace, e.g. paddock-system"),
  PADDOCK_WATCH_NAMESPACES: rule(csv(label), "set it to namespaces with commas between them, or leave it empty for all", ""),
  PADDOCK_GATEWAY_URL: rule(z.url({ protocol: /^https$/ }), "set it to the gateway's address, e.g. https://paddock-gateway.paddock-system.svc:8443"),
  PADDOCK_GATEWAY_DIAL_URL: rule(z.url({ protocol: /^https$/ }), "leave it unset, or set it to an address with https where the operator itself reaches the gateway"),
  PADDOCK_RUNNER_IMAGE: rule(z.string().regex(/^\S+$/), "set it to the runner image, e.g. ghcr.io/paddock/runner:0.1.0"),
  PADDOCK_SANDBOX_IMAGE: rule(z.string().regex(/^\S+$/), "set it to the sandbox image, e.g. ghcr.io/paddock/sandbox:0.1.0"),
  PADDOCK_IMAGE_PULL_POLICY: rule(z.enum(["Always", "IfNotPresent", "Never"]), "set it to Always, IfNotPresent or Never", "IfNotPresent"),
  PADDOCK_DNS_PEERS: rule(json(peers), "set it to a JSON list of NetworkPolicy peers", "[]"),
  PADDOCK_PRIVATE_RANGES: rule(json(z.array(cidr)), 'set it to a JSON list of CIDRs, e.g. ["10.0.0.0/8"]', "[]"),
  PADDOCK_CANARIES: rule(json(z.array(address).max(MAX_CANARIES)), `set it to a JSON list of at most ${MAX_CANARIES} addresses with ports, e.g. ["203.0.113.7:443","[2001:db8::7]:443"]`, "[]"),
  PADDOCK_PROPAGATED_LABELS: rule(
    csv(z.string().max(317).regex(LABEL_KEY).refine(isPropagable)),
    "set it to keys of labels with commas between them, e.g. team,example.com/cost-centre: none that Paddock (paddock.dev/) or a GitOps tool finds its own objects by",
    "",
  ),
  PADDOCK_CREATOR_STAMP: rule(z.enum(["true", "false"]), "set it to true where the chart installed the policy creator-stamp, else to false", "true"),
  PADDOCK_LOG_LEVEL: rule(z.enum(["trace", "debug", "info", "warn", "error", "silent"]), "set it to trace, debug, info, warn, error or silent", "info"),
  PADDOCK_TOKEN_FILE: rule(z.string().startsWith("/"), "set it to the path of the projected token", "/run/paddock/token/token"),
  PADDOCK_POD_NAME: rule(z.string().max(253).regex(/^[a-z0-9.-]*$/), "set it to the name of the operator's own pod, or leave it unset", ""),
  PADDOCK_LEASE_SECONDS: rule(z.coerce.number().int().min(2).max(120), "set it to whole seconds from 2 to 120, the same in all replicas", "15"),
  PADDOCK_METRICS_PORT: rule(z.coerce.number().int().min(0).max(65535), "set it to a port from 1 to 65535, or to 0 for any that is free", "9090"),
} as const;

/** Reads and checks the environment. Throws ConfigError with one line per variable that is wrong. */
export function readConfig(env: Environment): Config {
  const faults: string[] = [];
  const read = <T>(name: keyof typeof RULES, { schema, fix, fallback }: Rule<T>): T => {
    const text = env[name] ?? fallback;
    const parsed = schema.safeParse(text);
    if (!parsed.success) faults.push(`${name} is ${text === undefined ? "not set" : JSON.stringify(text.slice(0, 200))}: ${fix}`);
    // With a fault nothing is returned: the throw below comes first.
    return parsed.data as T;
  };
  const gatewayUrl = read("PADDOCK_GATEWAY_URL", RULES.PADDOCK_GATEWAY_URL);
  const config: Config = {
    namespace: read("PADDOCK_NAMESPACE", RULES.PADDOCK_NAMESPACE),
    watchNamespaces: read("PADDOCK_WATCH_NAMESPACES", RULES.PADDOCK_WATCH_NAMESPACES),
    gatewayUrl,
    gatewayDialUrl: env.PADDOCK_GATEWAY_DIAL_URL === undefined ? gatewayUrl : read("PADDOCK_GATEWAY_DIAL_URL", RULES.PADDOCK_GATEWAY_DIAL_URL),
    runnerImage: read("PADDOCK_RUNNER_IMAGE", RULES.PADDOCK_RUNNER_IMAGE),
    sandboxImage: read("PADDOCK_SANDBOX_IMAGE", RULES.PADDOCK_SANDBOX_IMAGE),
    imagePullPolicy: read("PADDOCK_IMAGE_PULL_POLICY", RULES.PADDOCK_IMAGE_PULL_POLICY),
    dnsPeers: read("PADDOCK_DNS_PEERS", RULES.PADDOCK_DNS_PEERS) as readonly NetworkPolicyPeer[],
    privateRanges: read("PADDOCK_PRIVATE_RANGES", RULES.PADDOCK_PRIVATE_RANGES),
    canaries: read("PADDOCK_CANARIES", RULES.PADDOCK_CANARIES),
    propagatedLabels: read("PADDOCK_PROPAGATED_LABELS", RULES.PADDOCK_PROPAGATED_LABELS),
    creatorStamp: read("PADDOCK_CREATOR_STAMP", RULES.PADDOCK_CREATOR_STAMP) === "true",
    logLevel: read("PADDOCK_LOG_LEVEL", RULES.PADDOCK_LOG_LEVEL),
    tokenFile: read("PADDOCK_TOKEN_FILE", RULES.PADDOCK_TOKEN_FILE),
    podName: read("PADDOCK_POD_NAME", RULES.PADDOCK_POD_NAME),
    leaseSeconds: read("PADDOCK_LEASE_SECONDS", RULES.PADDOCK_LEASE_SECONDS),
    metricsPort: read("PADDOCK_METRICS_PORT", RULES.PADDOCK_METRICS_PORT),
    apiServer: apiServerOf(env),
  };
  if (faults.length > 0) throw new ConfigError(faults.join("\n"));
  return config;
}

/** The process's own configuration. */
export function loadConfig(): Config {
  return readConfig(process.env);
}

function apiServerOf({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port, KUBECONFIG: kubeconfig }: Environment): Config["apiServer"] {
  return host === undefined || host === "" ? { kubeconfig } : { host, port: Number(port ?? "443") };
}

/** `203.0.113.7:443` or `[2001:db8::7]:443`. */
function isAddressWithPort(text: string): boolean {
  const [, v6, v4, port] = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})$/.exec(text) ?? [];
  return (v6 === undefined ? isIP(v4 ?? "") === 4 : isIP(v6) === 6) && Number(port) <= 65_535;
}

function rule<T>(schema: z.ZodType<T>, fix: string, fallback?: string): Rule<T> {
  return { schema, fix, ...(fallback === undefined ? {} : { fallback }) };
}

function csv(item: z.ZodString): z.ZodType<readonly string[]> {
  return z.string().transform((text) => text.split(",").map((part) => part.trim()).filter((part) => part !== "")).pipe(z.array(item));
}

function json<T>(schema: z.ZodType<T>): z.ZodType<T> {
  return z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue({ code: "custom", message: "not JSON" });
        return z.NEVER;
      }
    })
    .pipe(schema);
}
