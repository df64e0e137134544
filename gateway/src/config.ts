import { z } from "zod";

/** What the gateway runs by. */
export interface Config {
  readonly namespace: string;
  readonly dataDir: string;
  readonly port: number;
  readonly metricsPort: number;
  /** Names that the serving certificate holds. */
  readonly names: readonly string[];
  readonly operatorUser: string;
  readonly logLevel: string;
  readonly apiServer: { readonly url: string; readonly tokenFile: string; readonly caFile: string };
}

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const port = z.coerce.number().int().min(0).max(65535);
const label = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "give a DNS label");

const variables = z.object({
  PADDOCK_NAMESPACE: label,
  PADDOCK_DATA_DIR: z.string().startsWith("/", "give an absolute path on a disk of this machine").default("/var/lib/paddock"),
  PADDOCK_PORT: port.default(8443),
  PADDOCK_METRICS_PORT: port.default(9090),
  PADDOCK_SERVICE: label.default("paddock-gateway"),
  PADDOCK_OPERATOR_USER: z.string().regex(/^system:serviceaccount:[^:]+:[^:]+$/, "give system:serviceaccount:NAMESPACE:NAME"),
  PADDOCK_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
  KUBERNETES_SERVICE_HOST: z.string().min(1, "Kubernetes sets it in every pod"),
  KUBERNETES_SERVICE_PORT: port.default(443),
  PADDOCK_API_TOKEN_FILE: z.string().default(`${ACCOUNT}/token`),
  PADDOCK_API_CA_FILE: z.string().default(`${ACCOUNT}/ca.crt`),
});

/** The configuration in these environment variables. Throws an Error that names each faulty variable, its value and what is wanted. */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const parsed = variables.safeParse(environment);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => {
      const name = String(path[0]);
      return `${name} is ${environment[name] === undefined ? "not set" : JSON.stringify(environment[name])}: ${message}`;
    });
    throw new Error(`the gateway's environment is not valid: ${faults.join("; ")}`);
  }
  const { data } = parsed;
  const { PADDOCK_SERVICE: service, PADDOCK_NAMESPACE: namespace, KUBERNETES_SERVICE_HOST: host } = data;
  const authority = `${host.includes(":") ? `[${host}]` : host}:${data.KUBERNETES_SERVICE_PORT}`;
  return {
    namespace,
    dataDir: data.PADDOCK_DATA_DIR,
    port: data.PADDOCK_PORT,
    metricsPort: data.PADDOCK_METRICS_PORT,
    names: [service, `${service}.${namespace}`, `${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`, "localhost", "127.0.0.1"],
    operatorUser: data.PADDOCK_OPERATOR_USER,
    logLevel: data.PADDOCK_LOG_LEVEL,
    apiServer: { url: `https://${authority}`, tokenFile: data.PADDOCK_API_TOKEN_FILE, caFile: data.PADDOCK_API_CA_FILE },
  };
}

/** The configuration of this process. */
export function readConfig(): Config {
  return parseConfig(process.env);
}
