import { createHash } from "node:crypto";
import { apply } from "./lab.ts";
import { get, must } from "./kubectl.ts";

/** One answer of the scripted model; its format is described in test/scripted-model/README.md. */
export type Turn = Readonly<Record<string, unknown>>;

/** An answer that is text alone and so ends the run. */
export function say(content: string): Turn {
  return { content };
}

/** An answer that calls one tool. */
export function call(name: string, args: Readonly<Record<string, unknown>>): Turn {
  return { toolCalls: [{ name, arguments: args }] };
}

const NAME = "scripted-model";
const deployed = new Map<string, Record<string, readonly Turn[]>>();

/**
 * Puts a scripted model into the namespace as Service `scripted-model`, port 8080, and waits until it serves. Scripts are by the prompt they
 * answer; a later call adds to those of earlier ones. With `apiKey` each request must bear it; it is Secret `scripted-model-key`, key `value`.
 */
export async function deployModel(namespace: string, scripts: Readonly<Record<string, readonly Turn[]>>, options: { readonly apiKey?: string } = {}): Promise<void> {
  const all = { "(no script)": [say("There is no script yet.")], ...deployed.get(namespace), ...scripts };
  deployed.set(namespace, all);
  const text = JSON.stringify(Object.entries(all).map(([prompt, turns]) => ({ prompt, turns })));
  if (options.apiKey !== undefined) await apply(namespace, { apiVersion: "v1", kind: "Secret", metadata: { name: `${NAME}-key` }, stringData: { value: options.apiKey } });
  await apply(
    namespace,
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: NAME }, data: { "scripts.json": text } },
    buildDeployment(await modelImage(), createHash("sha256").update(text).digest("hex")),
    { apiVersion: "v1", kind: "Service", metadata: { name: NAME }, spec: { selector: { app: NAME }, ports: [{ port: 8080, targetPort: 8080 }] } },
  );
  await must(["rollout", "status", `deployment/${NAME}`, "-n", namespace, "--timeout=90s"]);
}

function buildDeployment(image: string, scriptsDigest: string): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: NAME },
    spec: {
      strategy: { type: "Recreate" },
      selector: { matchLabels: { app: NAME } },
      template: {
        // Scripts are read once at the start: other scripts, another pod.
        metadata: { labels: { app: NAME }, annotations: { "e2e/scripts": scriptsDigest } },
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          securityContext: { runAsNonRoot: true, runAsUser: 65532 },
          containers: [
            {
              name: "model",
              image,
              imagePullPolicy: "IfNotPresent",
              readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 1, timeoutSeconds: 10 },
              volumeMounts: [
                { name: "scripts", mountPath: "/fixtures", readOnly: true },
                { name: "key", mountPath: "/run/key", readOnly: true },
              ],
            },
          ],
          volumes: [
            { name: "scripts", configMap: { name: NAME } },
            { name: "key", secret: { secretName: `${NAME}-key`, optional: true } },
          ],
        },
      },
    },
  };
}

/** Where the release keeps its images, with the tag that the examples name. */
async function modelImage(): Promise<string> {
  const operator = await get<{ spec: { template: { spec: { containers: { image: string }[] } } } }>("deployment", "paddock-operator", "paddock-system");
  const image = operator?.spec.template.spec.containers[0]?.image ?? "";
  return `${image.slice(0, image.lastIndexOf("/"))}/scripted-model:0.1.0`;
}

/** What the model was asked, oldest first; times in milliseconds since 1970. */
export interface ModelRequest {
  readonly number: number;
  readonly prompt: string | null;
  readonly turn: number | null;
  readonly status: number;
  readonly receivedAt: number;
  readonly lastByteAt: number | null;
}

export async function modelRequests(namespace: string): Promise<ModelRequest[]> {
  const text = await must(["get", "--raw", `/api/v1/namespaces/${namespace}/services/${NAME}:8080/proxy/requests`]);
  return (JSON.parse(text) as { requests: ModelRequest[] }).requests;
}
