import { apply, eventually } from "./lab.ts";
import type { Pod } from "./lab.ts";
import { get, must } from "./kubectl.ts";

/** An address somebody may or may not reach. */
export interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** `open`: connected. `refused`: a packet came back, so the network let it through. `silent`: nothing came back within 2 s. */
export type Reach = "open" | "refused" | "silent";

/** Node program that tries every target once and prints `{name: reach}` as one JSON line; bounded in time and count. */
export function buildReachProgram(targets: readonly Target[]): string {
  return `
const targets = ${JSON.stringify(targets)};
const net = require("node:net");
const reach = ({ host, port }) => new Promise((resolve) => {
  const socket = net.connect({ host, port });
  const done = (answer) => { socket.destroy(); resolve(answer); };
  socket.setTimeout(2000, () => done("silent"));
  socket.on("connect", () => done("open"));
  socket.on("error", (error) => done(error.code === "ECONNREFUSED" ? "refused" : "silent"));
});
Promise.all(targets.map(async (target) => [target.name, await reach(target)])).then((all) => console.log(JSON.stringify(Object.fromEntries(all))));
`;
}

/** What an ordinary pod of the namespace, which no Paddock policy selects, reaches: the positive control of a refusal. */
export async function reachOfOrdinaryPod(namespace: string, name: string, targets: readonly Target[]): Promise<{ reach: Record<string, Reach>; address: string }> {
  const image = await sandboxImage();
  await apply(namespace, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      restartPolicy: "Never",
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 10001 },
      containers: [{ name: "probe", image, imagePullPolicy: "IfNotPresent", command: ["node", "-e", buildReachProgram(targets)] }],
    },
  });
  const pod = await eventually(`pod ${name} to end`, async () => {
    const found = await get<Pod>("pod", name, namespace);
    return found?.status.phase === "Succeeded" && found;
  });
  return { reach: JSON.parse(await must(["logs", name, "-n", namespace])) as Record<string, Reach>, address: pod.status.podIP ?? "" };
}

/** The sandbox image of the installed release. */
export async function sandboxImage(): Promise<string> {
  const deployment = await get<{ spec: { template: { spec: { containers: { env: { name: string; value?: string }[] }[] } } } }>("deployment", "paddock-operator", "paddock-system");
  const image = deployment?.spec.template.spec.containers[0]?.env.find(({ name }) => name === "PADDOCK_SANDBOX_IMAGE")?.value;
  if (image === undefined) throw new Error("the operator's Deployment names no PADDOCK_SANDBOX_IMAGE");
  return image;
}
