import { z } from "zod";
import type { StoreConfig } from "./store/open.ts";

/** What the gateway runs by. */
export interface Config {
  readonly namespace: string;
  readonly store: StoreConfig;
  /** How long logs of finished sessions are kept, in seconds; 0 keeps them for ever. */
  readonly retentionSeconds: number;
  /** Base address of an OTLP/HTTP receiver; absent means no traces. */
  readonly otlpEndpoint: string | undefined;
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

/** A hundred years: beyond what dates hold there is no day to compare with. */
const MOST_SECONDS = 3_155_760_000;

const variables = z.object({
  PADDOCK_NAMESPACE: label,
  PADDOCK_DATA_DIR: z.string().startsWith("/", "give an absolute path on a disk of this machine").default("/var/lib/paddock"),
  PADDOCK_STORE: z.enum(["sqlite", "postgres"]).default("sqlite"),
  PADDOCK_POSTGRES_URL_FILE: z.string().startsWith("/", "give the absolute path of a file that holds the connection string, never the string itself").optional(),
  PADDOCK_RETENTION_SECONDS: z.coerce.number("give whole seconds, 0 to keep logs for ever").int().min(0).max(MOST_SECONDS).default(2_592_000),
  PADDOCK_OTLP_ENDPOINT: z.url({ protocol: /^https?$/, error: "give the base address of an OTLP receiver over HTTP, e.g. http://otel-collector.observability:4318" }).optional(),
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

const storeVariables = variables.pick({ PADDOCK_DATA_DIR: true, PADDOCK_STORE: true, PADDOCK_POSTGRES_URL_FILE: true });

type Environment = Readonly<Record<string, string | undefined>>;

function parseVariables<T>(schema: z.ZodType<T>, environment: Environment): T {
  const parsed = schema.safeParse(environment);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => {
    const name = String(path[0]);
    return `${name} is ${shown(name, environment[name])}: ${message}`;
  });
  throw new Error(`the gateway's environment is not valid: ${faults.join("; ")}`);
}

/** Where logs are kept, for commands that need nothing else. Throws as parseConfig. */
export function parseStoreConfig(environment: Environment): StoreConfig {
  return storeOf(parseVariables(storeVariables, environment));
}

/** The configuration in these environment variables. Throws an Error that names each faulty variable, its value and what is wanted. */
export function parseConfig(environment: Environment): Config {
  const data = parseVariables(variables, environment);
  const store = storeOf(data);
  const { PADDOCK_SERVICE: service, PADDOCK_NAMESPACE: namespace, KUBERNETES_SERVICE_HOST: host } = data;
  const authority = `${host.includes(":") ? `[${host}]` : host}:${data.KUBERNETES_SERVICE_PORT}`;
  return {
    namespace,
    store,
    retentionSeconds: data.PADDOCK_RETENTION_SECONDS,
    otlpEndpoint: data.PADDOCK_OTLP_ENDPOINT,
    port: data.PADDOCK_PORT,
    metricsPort: data.PADDOCK_METRICS_PORT,
    names: [service, `${service}.${namespace}`, `${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`, "localhost", "127.0.0.1"],
    operatorUser: data.PADDOCK_OPERATOR_USER,
    logLevel: data.PADDOCK_LOG_LEVEL,
    apiServer: { url: `https://${authority}`, tokenFile: data.PADDOCK_API_TOKEN_FILE, caFile: data.PADDOCK_API_CA_FILE },
  };
}

/** The value, but where somebody may have put a connection string with its password. */
function shown(name: string, value: string | undefined): string {
  if (value === undefined) return "not set";
  return name === "PADDOCK_POSTGRES_URL_FILE" ? "not a path" : JSON.stringify(value);
}

function storeOf({ PADDOCK_STORE: kind, PADDOCK_DATA_DIR: dataDir, PADDOCK_POSTGRES_URL_FILE: urlFile }: z.infer<typeof storeVariables>): StoreConfig {
  if (kind === "sqlite") return { kind, dataDir };
  if (urlFile !== undefined) return { kind, urlFile };
  throw new Error("the gateway's environment is not valid: PADDOCK_POSTGRES_URL_FILE is not set: with PADDOCK_STORE postgres give the absolute path of a file that holds the connection string");
}

/** The configuration of this process. */
export function readConfig(): Config {
  return parseConfig(process.env);
}

export function readStoreConfig(): StoreConfig {
  return parseStoreConfig(process.env);
}
