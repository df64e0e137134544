import { apply, buildSession, runningPod } from "../../e2e/lab.ts";
import type { Pod } from "../../e2e/lab.ts";
import { list, must } from "../../e2e/kubectl.ts";
import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runInside, runOrdinary } from "../program.ts";
import { PROMPTS, reportOf } from "../stage.ts";
import type { Stage } from "../stage.ts";

// Packets: from a sandbox, from a hijacked runner, and to either.

export interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "dns-udp" | "dns-tcp";
}

export interface Reached {
  readonly address: string;
  readonly reach: Readonly<Record<string, string>>;
}

async function clusterIp(service: string, namespace: string): Promise<string> {
  return (await must(["get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}"])).trim();
}

async function podOf(namespace: string, selector: string): Promise<Pod> {
  const pod = (await list<Pod>("pods", namespace, selector)).find(({ status, metadata }) => status.phase === "Running" && metadata.deletionTimestamp === undefined);
  if (pod?.status.podIP === undefined) throw new Error(`no pod of ${namespace} with ${selector} runs`);
  return pod;
}

/** A session whose sandbox waits: its two pods are there to be looked at. */
export async function held(stage: Stage, environment: string): Promise<{ readonly runner: Pod; readonly sandbox: Pod }> {
  return stage.once(`held ${environment}`, async () => {
    const name = `held-${environment}`;
    await apply(stage.namespace, buildSession(name, PROMPTS.hold, { environment }));
    const [runner, sandbox] = await Promise.all([runningPod(stage.namespace, name, "runner"), runningPod(stage.namespace, name, "sandbox")]);
    return { runner, sandbox };
  });
}

/** Behind the Service `kubernetes`. */
async function apiServer(): Promise<{ readonly host: string; readonly port: number }> {
  const [host, port] = (await must(["get", "endpointslice", "kubernetes", "-n", "default", "-o", "jsonpath={.endpoints[0].addresses[0]} {.ports[0].port}"])).split(" ");
  if (host === undefined || port === undefined) throw new Error("the API server has no address of its own");
  return { host, port: Number(port) };
}

/** Everything that a sandbox must not reach, as an ordinary pod of its namespace reaches it. */
async function targetsOf(stage: Stage): Promise<readonly Target[]> {
  return stage.once("targets", async () => {
    const [mine, theirs, api, dns] = await Promise.all([
      podOf(stage.namespace, "app=scripted-model"), podOf(stage.other, "app=scripted-model"), clusterIp("kubernetes", "default"), clusterIp("kube-dns", "kube-system"),
    ]);
    const addressOf = ({ status }: Pod): string => status.podIP ?? "";
    const node = mine.status.hostIP ?? "";
    const server = await apiServer();
    const sink = stage.sink;
    const tcp = (name: string, host: string, port: number): Target => ({ name, host, port, protocol: "tcp" });
    return [
      ...(sink === undefined ? [] : [
        tcp("metadata address", sink.metadata.host, sink.metadata.port),
        tcp("address of the internet", sink.internet.host, sink.internet.port),
        { name: "datagram to the internet", ...sink.internet, protocol: "udp" },
        { name: "question to a name server on the internet, UDP", ...sink.dns, protocol: "udp" },
        tcp("question to a name server on the internet, TCP", sink.dns.host, sink.dns.port),
      ] as const),
      tcp("pod of its namespace", addressOf(mine), 8080),
      tcp("Service of its namespace", await clusterIp("scripted-model", stage.namespace), 8080),
      tcp("pod of another tenant", addressOf(theirs), 8080),
      tcp("Service of another tenant", await clusterIp("scripted-model", stage.other), 8080),
      tcp("API server by its Service", api, 443),
      tcp("API server by its own address", server.host, server.port),
      tcp("kubelet of its node", node, 10250),
      { name: "cluster DNS, UDP", host: dns, port: 53, protocol: "dns-udp" },
      { name: "cluster DNS, TCP", host: dns, port: 53, protocol: "dns-tcp" },
    ];
  });
}

async function reachFromSandbox(stage: Stage): Promise<Reached> {
  return stage.once("reach from a sandbox", async () => reportOf(await stage.hijack({ name: "reach", program: loadProgram("reach.ts", { targets: [...(await targetsOf(stage)), ...(await guardedTargets(stage))] }) })) as unknown as Reached);
}

async function reachFromOrdinary(stage: Stage): Promise<Reached> {
  return stage.once("reach from an ordinary pod", async () => (await runOrdinary(stage, { name: "reach-ordinary", program: loadProgram("reach.ts", { targets: await targetsOf(stage) }) })).result as unknown as Reached);
}

/** What only runners reach, so that an ordinary pod is no control. */
async function guardedTargets(stage: Stage): Promise<readonly Target[]> {
  return stage.once("guarded targets", async () => {
    const { sandbox } = await held(stage, "standard");
    return [
      { name: "gateway by its Service", host: await clusterIp("paddock-gateway", "paddock-system"), port: 8443, protocol: "tcp" },
      { name: "sandbox of another session", host: sandbox.status.podIP ?? "", port: 8080, protocol: "tcp" },
    ];
  });
}

/** A datagram is never answered: whether it came is for the sink to say. */
function outcomeOf(stage: Stage, { address, reach }: Reached, name: string): Outcome {
  const how = reach[name] ?? "not tried";
  if (how !== "sent") return { succeeded: how === "open" || how === "refused", how };
  const arrived = stage.sink?.seenFrom(address).some(({ protocol, data }) => protocol === "udp" && data === name) ?? false;
  return { succeeded: arrived, how: arrived ? "arrived" : "lost" };
}

function fromSandbox(name: string, needs?: "the sink"): Attack {
  return {
    area: "network", name: `${name}, from a sandbox`, ...(needs === undefined ? {} : { needs }),
    attempt: async (stage) => outcomeOf(stage, await reachFromSandbox(stage), name),
    control: async (stage) => outcomeOf(stage, await reachFromOrdinary(stage), name),
  };
}

function guarded(name: string): Attack {
  return {
    area: "network", name: `${name}, from a sandbox`,
    attempt: async (stage) => outcomeOf(stage, await reachFromSandbox(stage), name),
    control: async (stage) => {
      const reached = await stage.once("reach from a runner, guarded", async () => runInside(stage.namespace, (await held(stage, "standard")).runner.metadata.name, loadProgram("reach.ts", { targets: await guardedTargets(stage) })));
      return outcomeOf(stage, reached as unknown as Reached, name);
    },
  };
}

const RAW = { runAsNonRoot: false, runAsUser: 0, capabilities: { add: ["NET_RAW"] } };

/** Sockets that make packets by themselves: pings, other protocols, frames for neighbours. */
function rawSocket(name: string, key: string): Attack {
  const outcome = (report: Readonly<Record<string, unknown>>): Outcome => ({ succeeded: report[key] === "opened", how: String(report[key]) });
  return {
    area: "network", name: `${name}, from a sandbox`,
    attempt: async (stage) => outcome(await stage.once("raw from a sandbox", async () => reportOf(await stage.hijack({ name: "raw", program: loadProgram("raw.py") })))),
    control: async (stage) => outcome(await stage.once("raw from a pod", async () => (await runOrdinary(stage, { name: "raw-ordinary", program: loadProgram("raw.py"), container: { securityContext: RAW } })).result)),
  };
}

const fromRunner = (name: string, needs?: "the sink"): Attack => ({
  area: "runner", name: `${name}, from a hijacked runner`, ...(needs === undefined ? {} : { needs }),
  attempt: async (stage) => {
    const reached = await stage.once("reach from a runner", async () => runInside(stage.namespace, (await held(stage, "standard")).runner.metadata.name, loadProgram("reach.ts", { targets: await targetsOf(stage) })));
    return outcomeOf(stage, reached as unknown as Reached, name);
  },
  control: async (stage) => outcomeOf(stage, await reachFromOrdinary(stage), name),
});

/** To a pod of ours, from an ordinary pod and from a runner of another Environment; the control is a pod that nobody guards. */
function ingress(name: string, pick: (pods: Awaited<ReturnType<typeof held>>) => Pod, from: "an ordinary pod" | "a runner of another Environment"): Attack {
  const target = async (stage: Stage): Promise<Target> => ({ name, host: pick(await held(stage, "standard")).status.podIP ?? "", port: 8080, protocol: "tcp" });
  return {
    area: "ingress", name: `${name}, from ${from}`,
    attempt: async (stage) => {
      const program = loadProgram("reach.ts", { targets: [await target(stage)] });
      const reached = from === "an ordinary pod"
        ? (await runOrdinary(stage, { name: `knock-${name.replace(/\W+/g, "-")}`, program })).result
        : await runInside(stage.namespace, (await held(stage, "online")).runner.metadata.name, program);
      return outcomeOf(stage, reached as unknown as Reached, name);
    },
    // The same kind of pod, to a pod that no policy of ours selects: a packet comes back.
    control: async (stage) => {
      const program = loadProgram("reach.ts", { targets: [{ name, host: (await podOf(stage.namespace, "app=scripted-model")).status.podIP ?? "", port: 8080, protocol: "tcp" }] });
      const reached = from === "an ordinary pod"
        ? await stage.once("knock at an ordinary pod", async () => (await runOrdinary(stage, { name: "knock-control", program })).result)
        : await runInside(stage.namespace, (await held(stage, "online")).runner.metadata.name, program);
      return outcomeOf(stage, { address: "", reach: { [name]: Object.values((reached as unknown as Reached).reach)[0] ?? "" } }, name);
    },
  };
}

const SINK_TARGETS = ["metadata address", "address of the internet", "datagram to the internet", "question to a name server on the internet, UDP", "question to a name server on the internet, TCP"];
const CLUSTER_TARGETS = [
  "pod of its namespace", "Service of its namespace", "pod of another tenant", "Service of another tenant", "API server by its Service", "API server by its own address", "kubelet of its node", "cluster DNS, UDP", "cluster DNS, TCP",
];
/** A runner may go to its model, and ask the cluster's DNS. */
const RUNNER_TARGETS = ["pod of another tenant", "Service of another tenant", "API server by its Service", "API server by its own address", "kubelet of its node"];

export const networkAttacks: readonly Attack[] = [
  ...SINK_TARGETS.map((name) => fromSandbox(name, "the sink")),
  ...CLUSTER_TARGETS.map((name) => fromSandbox(name)),
  guarded("gateway by its Service"),
  guarded("sandbox of another session"),
  rawSocket("ping (raw ICMP)", "icmp"),
  rawSocket("forged neighbour (raw ICMPv6)", "icmpv6"),
  rawSocket("SCTP by hand (raw IP 132)", "sctp"),
  rawSocket("frame by hand (packet socket)", "packet"),
  ...SINK_TARGETS.map((name) => fromRunner(name, "the sink")),
  ...RUNNER_TARGETS.map((name) => fromRunner(name)),
  ingress("runner", ({ runner }) => runner, "an ordinary pod"),
  ingress("tool server of a sandbox", ({ sandbox }) => sandbox, "an ordinary pod"),
  ingress("tool server of a sandbox", ({ sandbox }) => sandbox, "a runner of another Environment"),
];
