import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { pino } from "pino";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, LogEvent, LogEventOf, EventType, NewEvent } from "@paddock/api/log/events";
import type { PersonAppend, PersonAppendReply } from "@paddock/api/wire/people";
import type { RecordView } from "@paddock/api/wire/records";
import type { Delta } from "@paddock/api/wire/runner";
import { follow, send } from "../../../test/fakes/client.ts";
import type { Events, ServerEvent } from "../../../test/fakes/client.ts";
import { startLocalGateway } from "../../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../../test/fakes/gateway.ts";
import { buildTestBundle } from "../../../test/fakes/session.ts";
import { openSandbox } from "../../../sandbox-image/src/testdata/sandbox.ts";
import type { Sandbox } from "../../../sandbox-image/src/testdata/sandbox.ts";
import { connectGateway } from "../gateway.ts";
import { MODEL_LIMITS } from "../model/transport.ts";
import type { NetworkSettings } from "../outward.ts";
import type { Canary } from "../sandbox/bind.ts";
import { createRedactor } from "../redaction.ts";
import { runRunner } from "../shell.ts";
import type { Ending, ShellPorts } from "../shell.ts";

/** A session in the real gateway, with a real sandbox that is bound as soon as it is asked for. */
export interface Lab {
  readonly gateway: LocalGateway;
  readonly sandbox: Sandbox;
  readonly uid: string;
  readonly folder: string;
  /** Registers a runner pod, and runs the harness in this process until it ends. */
  run(options?: RunOptions): Promise<Ending>;
  /** Registers a runner pod; what its process needs to know. */
  register(podUid: string): Promise<RunnerPod>;
  asOperator(event: NewEvent): Promise<void>;
  /** Sends a message as a person; the same key is the same message. Resolves with the event as stored. */
  say(content: string, key?: string): Promise<LogEvent>;
  /** Stops what is under way, as a person. */
  interrupt(): Promise<LogEvent>;
  /** Gives the result of a custom tool's call, as a person. */
  give(call: string, content: string): Promise<LogEvent>;
  /** Decides, as the operator does for a person, once the call is asked for. */
  resolve(call: string, change?: Partial<EventDataOf<"approval.resolved">>): Promise<void>;
  events(): Promise<readonly LogEvent[]>;
  of<T extends EventType>(type: T): Promise<readonly LogEventOf<T>[]>;
  /** Resolves with the first event, old or new, that fits. */
  seen(fits: (event: LogEvent) => boolean): Promise<LogEvent>;
  /** What is shown to people while the model speaks, from now on. */
  deltas(): Promise<AsyncGenerator<Delta>>;
  credential(name: string, value: string): Promise<void>;
}

export interface RunOptions {
  readonly podUid?: string;
  readonly stop?: AbortSignal;
  readonly ports?: Partial<ShellPorts>;
  /** Leaves it to the caller to register the pod. */
  readonly unregistered?: boolean;
  /** Where the runner finds the gateway, when not directly. */
  readonly gatewayUrl?: string;
}

export interface RunnerPod {
  readonly podUid: string;
  readonly tokenFile: string;
  readonly credentials: string;
}

export interface LabOptions {
  readonly baseURL: string;
  readonly tools?: Bundle["agent"]["spec"]["tools"];
  readonly customTools?: Bundle["agent"]["spec"]["customTools"];
  readonly approvals?: Bundle["environment"]["spec"]["approvals"];
  readonly model?: Partial<Bundle["environment"]["spec"]["models"][number]>;
  readonly limits?: Bundle["limits"];
  readonly prompt?: string;
  readonly mode?: Bundle["mode"];
  readonly startTime?: string;
  readonly files?: Bundle["files"];
  readonly provisioning?: NonNullable<Bundle["environment"]["spec"]["sandbox"]>["provisioning"];
  readonly network?: Bundle["environment"]["spec"]["network"];
  readonly credentials?: Bundle["environment"]["spec"]["credentials"];
  /** Where the n-th sandbox is said to be; the last one holds for all others. The real one is at 127.0.0.1. */
  readonly sandboxes?: readonly string[];
}

let made = 0;

export async function openLab(t: TestContext, options: LabOptions): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), "paddock-runner-"));
  const gateway = await startLocalGateway();
  const sandbox = await openSandbox(t);
  const operator = gateway.reviews.operatorToken();
  const uid = `u${(made += 1)}`;
  const person = gateway.reviews.personToken("ann", ["team"], ["get", "create"]);
  const asOperator = async (method: string, path: string, body: unknown): Promise<void> => {
    const reply = await send(gateway, { method, path, token: operator, body });
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  };
  await asOperator("PUT", `/v1/records/${uid}`, { bundle: bundleOf(uid, options), namespaceUid: "n1", prompt: options.prompt ?? "Hello" });
  const path = `/v1/namespaces/team/sessions/session-${uid}/events`;

  const asPerson = async (body: PersonAppend, key?: string): Promise<LogEvent> => {
    const headers = key === undefined ? {} : { "idempotency-key": key };
    const reply = await send(gateway, { method: "POST", path, token: person, headers, body });
    if (reply.status !== 200) throw new Error(`${body.type} of a person: ${reply.status} ${JSON.stringify(reply.body)}`);
    return (reply.body as PersonAppendReply).event;
  };
  const append = (event: NewEvent): Promise<void> => asOperator("POST", `/v1/records/${uid}/events`, { events: [event] });

  const events = async (): Promise<readonly LogEvent[]> => {
    const { body } = await send(gateway, { path: `${path}?limit=500`, token: person });
    return (body as { events: LogEvent[] }).events;
  };
  // The stream breaks when the gateway is restarted; then it is opened again.
  async function* watch(): AsyncGenerator<ServerEvent> {
    for (let ended = false; !ended; ) {
      for await (const one of await follow(gateway, { path, token: person }).catch(() => [])) {
        ended = one.event === "end";
        yield one;
      }
    }
  }
  const seen = async (fits: (event: LogEvent) => boolean): Promise<LogEvent> => {
    for await (const { event: kind, data } of watch()) if (kind === "log" && fits(data as LogEvent)) return data as LogEvent;
    throw new Error("the run finished without such an event");
  };
  async function* onlyDeltas(watched: AsyncGenerator<ServerEvent>): AsyncGenerator<Delta> {
    for await (const { event: kind, data } of watched) if (kind === "delta") yield data as Delta;
  }
  const deltas = async (): Promise<AsyncGenerator<Delta>> => {
    const watched = watch();
    // The state comes first: from then on nothing that is shown is missed.
    await watched.next();
    t.after(() => watched.return(undefined));
    return onlyDeltas(watched);
  };
  const introduce = async (podUid: string): Promise<RunnerPod> => {
    const tokenFile = join(folder, `${podUid}.token`);
    await writeFile(tokenFile, gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid }));
    return { podUid, tokenFile, credentials: join(folder, "credentials") };
  };
  const register = async (podUid: string): Promise<RunnerPod> => {
    await asOperator("PUT", `/v1/pods/${podUid}`, { sessionUid: uid, component: "runner", podName: podUid });
    return introduce(podUid);
  };
  const binding = bindSandboxes({ gateway, operator, uid, addresses: options.sandboxes ?? ["127.0.0.1"], append });
  t.after(async () => {
    binding.stop();
    await gateway.close();
    await binding.ended;
    await rm(folder, { recursive: true, force: true });
  });
  return {
    gateway,
    sandbox,
    uid,
    folder,
    events,
    seen,
    deltas,
    register,
    say: (content, key) => asPerson({ type: "input.received", data: { content } }, key),
    interrupt: () => asPerson({ type: "turn.interrupted" }),
    give: (call, content) => asPerson({ type: "tool.finished", data: { call, status: "ok", content } }),
    async resolve(call, change) {
      const asked = await seen((event) => event.type === "approval.requested" && event.data.call === call);
      if (asked.type !== "approval.requested") return;
      const { fingerprint } = asked.data;
      await append({ type: "approval.resolved", data: { call, fingerprint, decision: "Approved", scope: "Once", by: "ann", ...change } });
    },
    asOperator: append,
    of: async (type) => (await events()).filter((event) => event.type === type) as never,
    async credential(name, value) {
      await mkdir(join(folder, "credentials", name), { recursive: true });
      await writeFile(join(folder, "credentials", name, "value"), value);
    },
    async run({ podUid = `pod-${uid}`, stop = new AbortController().signal, ports = {}, gatewayUrl = gateway.url, unregistered = false } = {}) {
      const pod = await (unregistered ? introduce(podUid) : register(podUid));
      const client = connectGateway({ url: new URL(gatewayUrl), ca: gateway.ca, tokenFile: pod.tokenFile });
      const own: ShellPorts = {
        gateway: client,
        podName: podUid,
        podUid,
        credentialFile: (name) => join(pod.credentials, name, "value"),
        sandboxPort: sandbox.port,
        network: networkOf(pod),
        limits: MODEL_LIMITS,
        redactor: createRedactor(),
        logger: pino({ level: "silent" }),
        now: Date.now,
        random: () => 0,
      };
      try {
        return await runRunner({ ...own, ...ports }, stop);
      } finally {
        client.close();
      }
    },
  };
}

/** A sandbox of the tests reaches all of loopback, but for what is not there: that proves what policies prove elsewhere. */
export const CLOSED: Canary = { host: "127.0.0.1", port: 9 };

/** What a pod's network is to a runner of the tests; the Environment's authorities are beside its credentials. */
export function networkOf({ credentials }: Pick<RunnerPod, "credentials">): NetworkSettings {
  return { privateRanges: [], canaries: [CLOSED], caBundleFile: join(credentials, "ca.crt"), resolvConfFile: join(credentials, "resolv.conf") };
}

function bundleOf(uid: string, options: LabOptions): Bundle {
  const { baseURL, tools, customTools, approvals, model, limits, startTime, mode, files, provisioning, network = { enforcement: "Verified" }, credentials } = options;
  const bundle = buildTestBundle(uid);
  const [entry] = bundle.environment.spec.models;
  if (entry === undefined) throw new Error("the test bundle has no model");
  const sandbox = provisioning === undefined ? undefined : { provisioning };
  const models = [{ ...entry, baseURL, ...model }];
  return {
    ...bundle,
    ...given({ limits, startTime, mode, files }),
    agent: { ...bundle.agent, spec: { ...bundle.agent.spec, ...given({ tools, customTools }) } },
    environment: { ...bundle.environment, spec: { ...bundle.environment.spec, models, ...given({ approvals, sandbox, network, credentials }) } },
  };
}

/** The members that are there. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

interface Binding {
  readonly gateway: LocalGateway;
  readonly operator: string;
  readonly uid: string;
  readonly addresses: readonly string[];
  append(event: NewEvent): Promise<void>;
}

/** What the operator does: a sandbox that is asked for is bound. The tests' sandbox is always the same one, on loopback. */
function bindSandboxes(binding: Binding): { stop(): void; readonly ended: Promise<void> } {
  let stopped = false;
  let stream: Events | undefined;
  const work = async (): Promise<void> => {
    while (!stopped) {
      stream = await follow(binding.gateway, { path: "/v1/records", token: binding.operator }).catch(() => undefined);
      for await (const { event, data } of stream ?? []) if (event === "record") await bindSandbox(binding, data as RecordView);
    }
  };
  return {
    stop: () => {
      stopped = true;
      stream?.close();
    },
    ended: work(),
  };
}

async function bindSandbox({ uid, addresses, append }: Binding, record: RecordView): Promise<void> {
  if (record.uid !== uid || !record.sandbox.pending) return;
  const podUid = `sandbox-${record.sandbox.requested}`;
  const address = addresses[record.sandbox.requested - 1] ?? addresses.at(-1) ?? "";
  await append({ type: "sandbox.bound", data: { podUid, podName: podUid, address } }).catch(() => undefined);
}
