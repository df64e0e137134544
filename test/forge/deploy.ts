import { readFileSync } from "node:fs";
import { join } from "node:path";
import { apply, eventually } from "../e2e/lab.ts";
import { must } from "../e2e/kubectl.ts";
import { sandboxImage } from "../e2e/reach.ts";
import { issueForge } from "./authority.ts";
import { FORGE_PORTS } from "./ports.ts";
import { clock } from "./seen.ts";
import type { Seen, SeenRequest } from "./seen.ts";

// The forge in a namespace of a test: one pod behind two Services, so that one name can have a credential and the other none.

const NAME = "forge";
const PROGRAM = ["archive", "echo", "exchange", "main", "packages", "ports", "repository", "routes", "seen", "server"];
export const FORGE_SECRET = { name: "forge-token", key: "value" } as const;
export const FORGE_CA = { name: "forge-ca", key: "ca.crt" } as const;
/** For spec.network.inCluster of Environments. */
export const FORGE_PEER = { podSelector: { matchLabels: { app: NAME } }, ports: [FORGE_PORTS.https, FORGE_PORTS.http2, FORGE_PORTS.http] };

export interface DeployedForge {
  /** Names of its Services; ports 443 (HTTP/1.1 and 2), 8444 (HTTP/2 only) and 80 (plain). */
  readonly host: string;
  readonly mirror: string;
  /** PEM of the authority of its certificate; ConfigMap `forge-ca` of its namespace holds it. */
  readonly ca: string;
  /** What to add to a time of this machine's clock to have the forge's, in milliseconds, and how far off that may be. */
  clockOffset(): Promise<{ readonly ms: number; readonly uncertainMs: number }>;
  seen(): Promise<Seen>;
  /** Requests whose path starts so, oldest first. */
  requests(path: string): Promise<readonly SeenRequest[]>;
  /** The newest commit of the repository. */
  head(): Promise<string>;
}

/** Secret by which forge and Environments have the same credential. */
export function buildForgeSecret(token: string): object {
  return { apiVersion: "v1", kind: "Secret", metadata: { name: FORGE_SECRET.name }, stringData: { [FORGE_SECRET.key]: token } };
}

/** The ConfigMap that Environments name as network.caBundle, for namespaces that the forge is not in. */
export function buildForgeCa(ca: string): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: FORGE_CA.name }, data: { [FORGE_CA.key]: ca } };
}

/** Puts the forge into the namespace and waits until it serves. Its token is Secret `forge-token`, made here, unless it is undefined. */
export async function deployForge(namespace: string, token?: string): Promise<DeployedForge> {
  const [host, mirror] = [`forge.${namespace}.svc`, `mirror.${namespace}.svc`];
  const { cert, key, ca } = await issueForge([host, mirror]);
  if (token !== undefined) await apply(namespace, buildForgeSecret(token));
  await apply(
    namespace,
    buildForgeCa(ca),
    { apiVersion: "v1", kind: "Secret", metadata: { name: "forge-tls" }, stringData: { "tls.crt": cert, "tls.key": key } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "forge-program" }, data: readProgram() },
    buildDeployment(await sandboxImage()),
    ...["forge", "mirror"].map(buildService),
  );
  await must(["rollout", "status", `deployment/${NAME}`, "-n", namespace, "--timeout=120s"]);
  const ask = async <T>(path: string): Promise<T> => JSON.parse(await must(["get", "--raw", `/api/v1/namespaces/${namespace}/services/${NAME}:${FORGE_PORTS.control}/proxy${path}`])) as T;
  await eventually("the forge to answer", () => ask<object>("/healthz"));
  const seen = (): Promise<Seen> => ask("/seen");
  return {
    host, mirror, ca, seen,
    clockOffset: async () => {
      const samples: { ms: number; uncertainMs: number }[] = [];
      for (let count = 0; count < 5; count += 1) {
        const askedAt = clock();
        const { now } = await ask<{ now: number }>("/clock");
        const answeredAt = clock();
        samples.push({ ms: now - (askedAt + answeredAt) / 2, uncertainMs: (answeredAt - askedAt) / 2 });
      }
      return samples.reduce((best, sample) => (sample.uncertainMs < best.uncertainMs ? sample : best));
    },
    requests: async (path) => (await seen()).requests.filter((entry) => entry.path.startsWith(path)),
    head: async () => (await ask<{ commit: string }>("/head")).commit,
  };
}

function readProgram(): Readonly<Record<string, string>> {
  const files = PROGRAM.map((name): [string, string] => [`${name}.ts`, readFileSync(join(import.meta.dirname, `${name}.ts`), "utf8")]);
  return { ...Object.fromEntries(files), "package.json": '{"type":"module"}' };
}

function buildService(name: string): object {
  const ports = [
    { name: "https", port: 443, targetPort: FORGE_PORTS.https },
    { name: "http2", port: FORGE_PORTS.http2, targetPort: FORGE_PORTS.http2 },
    { name: "http", port: 80, targetPort: FORGE_PORTS.http },
    { name: "control", port: FORGE_PORTS.control, targetPort: FORGE_PORTS.control },
  ];
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: NAME }, ports } };
}

function buildDeployment(image: string): object {
  const mounts = [
    { name: "program", mountPath: "/opt/forge" },
    { name: "tls", mountPath: "/run/forge/tls" },
    { name: "token", mountPath: "/run/forge/token" },
  ];
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: NAME },
    spec: {
      strategy: { type: "Recreate" },
      selector: { matchLabels: { app: NAME } },
      template: {
        metadata: { labels: { app: NAME } },
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: "RuntimeDefault" } },
          containers: [
            {
              name: "forge",
              image,
              imagePullPolicy: "IfNotPresent",
              command: ["node", "--disable-warning=ExperimentalWarning", "/opt/forge/main.ts"],
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
              // Unready for a moment it would have no address and measure nothing: on a loaded machine an answer may take seconds.
              readinessProbe: { httpGet: { path: "/healthz", port: FORGE_PORTS.control }, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 30 },
              volumeMounts: [...mounts.map((mount) => ({ ...mount, readOnly: true })), { name: "tmp", mountPath: "/tmp" }],
            },
          ],
          volumes: [
            { name: "program", configMap: { name: "forge-program" } },
            { name: "tls", secret: { secretName: "forge-tls" } },
            { name: "token", secret: { secretName: FORGE_SECRET.name, optional: true } },
            { name: "tmp", emptyDir: {} },
          ],
        },
      },
    },
  };
}
