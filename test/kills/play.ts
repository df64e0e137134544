import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import type { LogEvent } from "@paddock/api/log/events";
import { foldEvent } from "@paddock/api/log/fold";
import { EMPTY_STATE, pendingApprovals } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { LABELS, approvalName } from "@paddock/api/names";
import { follow } from "../fakes/client.ts";
import type { Events } from "../fakes/client.ts";
import { NAMESPACE, until } from "./house.ts";
import type { House, Person } from "./house.ts";
import type { PodProcess } from "./kubelet.ts";
import type { Asked } from "./model.ts";
import { createNaming, describeKill } from "./moments.ts";
import type { Baseline, Kill, Moment } from "./moments.ts";
import type { Question } from "./processes/runner.ts";
import { AFTER_LOSS, APPROVED, CALLS, LOSES_SANDBOX, MARKS, MESSAGE, POSTED, REFUSAL, TALKS_IN_TURN, holdOf, promptOf, sessionSpec } from "./story.ts";

/** What one session left behind, for the verdict. */
export interface Run {
  readonly name: string;
  readonly uid: string;
  readonly kills: readonly Kill[];
  /** Whether each kill found its moment and its victim. */
  readonly struck: readonly boolean[];
  /** The log as it is at the end. */
  readonly log: readonly LogEvent[];
  /** Events as a reader of the stream had them, in the order they came. */
  readonly seen: readonly LogEvent[];
  readonly asked: readonly Asked[];
  /** Lines of each mark. */
  readonly marks: Readonly<Record<string, number>>;
  /** Calls that sandboxes carried out to their end, as `call attempt`. */
  readonly executed: readonly string[];
  /** Payloads of events that the log keeps apart, by digest: their text, or why it cannot be read. */
  readonly blobs: Readonly<Record<string, string>>;
  readonly status: { readonly outcome?: string; readonly text?: string };
  readonly pods: readonly string[];
  readonly milliseconds: number;
  /** Why it did not come to its end in time; absent when it did. */
  readonly stuck?: string;
}

/** A house in which sessions are played, several at a time. */
export interface Stage {
  readonly house: House;
  play(name: string, kills: readonly Kill[]): Promise<Run>;
}

/** A bound against hanging, no expectation of speed. */
const STUCK_MS = 300_000;

/** Of what must be there at the end. */
const MOST_TRIES = 240;
const TRY_AGAIN_MS = 250;

interface Play {
  readonly house: House;
  /** Who says what is said, and reads along. */
  readonly person: Person;
  readonly name: string;
  readonly uid: string;
  readonly folder: string;
  readonly startedAt: number;
  readonly seen: LogEvent[];
  readonly naming: ReturnType<typeof createNaming>;
  readonly strike: (moment: Moment) => Promise<void>;
  state: SessionState;
  stream: Events | undefined;
  isOver: boolean;
  hasLostSandbox: boolean;
}

export function openStage(house: House): Stage {
  const plays = new Map<string, Play>();
  house.kubelet.onQuestion(async (pod, question) => {
    const play = [...plays.values()].find(({ uid }) => uid === pod.sessionUid);
    if (play !== undefined) await answerRunner(play, pod, question);
  });
  house.kubelet.onMade((pod) => {
    const play = [...plays.values()].find(({ uid }) => uid === pod.sessionUid);
    void play?.strike({ kind: "made", pod: pod.name.slice(play.name.length + 1) });
  });
  house.model.onAsked(async (asked) => {
    const play = [...plays.values()].find(({ folder }) => promptOf(folder) === asked.prompt);
    if (play !== undefined) await holdAnswer(play, asked);
  });
  return {
    house,
    play: async (name, kills) => {
      const folder = join(house.folder, "sessions", name);
      mkdirSync(folder, { recursive: true });
      for (const { moment } of kills) if (moment.kind === "effect") writeFileSync(join(folder, holdOf(moment.mark)), "");
      const strikes = createStrikes(house, kills, () => play);
      const uid = house.make("Session", name, sessionSpec(folder));
      const play: Play = { house, person: house.person(`ann-${name}`), name, uid, folder, startedAt: performance.now(), seen: [], naming: createNaming(), strike: strikes.strike, state: EMPTY_STATE, stream: undefined, isOver: false, hasLostSandbox: false };
      plays.set(name, play);
      strikes.startClock();
      try {
        return await runToEnd(play, kills, strikes.struck);
      } finally {
        play.isOver = true;
        plays.delete(name);
        strikes.stopClock();
      }
    },
  };
}

async function runToEnd(play: Play, kills: readonly Kill[], struck: readonly boolean[]): Promise<Run> {
  const { house, person, name, uid, folder, seen, startedAt } = play;
  const giveUp = new AbortController();
  const stuck = sleep(STUCK_MS, "stuck" as const, { signal: giveUp.signal }).catch(() => "stuck" as const);
  const done = Promise.all([watch(play), beLifelike(play), beSettled(play)]).then(() => "done" as const);
  const how = await Promise.race([done, stuck]);
  giveUp.abort();
  play.isOver = true;
  play.stream?.close();
  const milliseconds = performance.now() - startedAt;
  await done.catch(() => undefined);
  // The gateway may be on its way down just now, for another session's sake.
  const log = await again(() => person.log(name, uid).catch(() => undefined)) ?? [];
  const status = house.find("Session", name)?.status as { readonly result?: Run["status"] } | undefined;
  const run: Run = {
    name, uid, kills, struck, log, seen, milliseconds,
    asked: house.model.asked.filter(({ prompt }) => prompt === promptOf(folder)),
    marks: Object.fromEntries(Object.values(MARKS).map((mark) => [mark, linesIn(join(folder, mark))])),
    executed: executedBy(house.kubelet.pods.filter((pod) => pod.sessionUid === uid && pod.component === "sandbox")),
    blobs: await readBlobs(play, log),
    status: status?.result ?? {},
    pods: house.kubelet.pods.filter((pod) => pod.sessionUid === uid).map((pod) => pod.name.slice(name.length + 1)),
    ...(how === "stuck" ? { stuck: describeStuck(play) } : {}),
  };
  house.remove("Session", name);
  return run;
}

/** Follows the log as a client does, over every break, to its end. */
async function watch(play: Play): Promise<void> {
  const { house, person, name, uid, seen } = play;
  while (isGoingOn(play)) {
    const last = seen.at(-1)?.seq ?? 0;
    const headers = last === 0 ? {} : { "last-event-id": `${uid}:${last}` };
    const stream = await follow(house.gateway, { path: `/v1/namespaces/${NAMESPACE}/sessions/${name}/events?uid=${uid}`, token: person.token, headers }).catch(() => undefined);
    if (stream !== undefined) await takeAll(play, stream);
    await sleep(40);
  }
}

async function takeAll(play: Play, stream: Events): Promise<void> {
  play.stream = stream;
  for await (const { event, data } of stream) {
    if (event === "log") take(play, data as LogEvent);
    if (!isGoingOn(play)) break;
  }
  stream.close();
}

function isGoingOn({ isOver, state }: Play): boolean {
  return !isOver && state.finished === undefined;
}

function take(play: Play, event: LogEvent): void {
  play.seen.push(event);
  // One that does not follow is the verdict's to tell.
  if (event.seq === play.state.lastSeq + 1) play.state = foldEvent(play.state, event);
  void play.strike({ kind: "event", key: play.naming.name(event) });
  if (event.type === "tool.finished" && event.data.call === LOSES_SANDBOX && !play.hasLostSandbox) {
    play.hasLostSandbox = true;
    void newest(play.house, play.uid, "sandbox")?.kill();
  }
}

/** What people, clients and effects do meanwhile. */
async function beLifelike(play: Play): Promise<void> {
  while (isGoingOn(play)) {
    await talk(play);
    await decide(play);
    await post(play);
    for (const mark of Object.values(MARKS)) if (linesIn(join(play.folder, mark)) > 0) await play.strike({ kind: "effect", mark });
    await sleep(15);
  }
}

/** A message while the second answer is awaited; said again until it is taken. */
async function talk(play: Play): Promise<void> {
  const { turns, inputs } = play.state;
  if (inputs.length > 1 || (play.state.request?.turn ?? turns) < TALKS_IN_TURN) return;
  await say(play, { body: { type: "input.received", data: { content: MESSAGE } }, headers: { "idempotency-key": "margins" } });
}

/** One after the other, when nothing of the session runs any more. */
async function decide(play: Play): Promise<void> {
  const { house, name, uid, state } = play;
  const [pending] = pendingApprovals(state);
  if (pending === undefined || house.kubelet.hasPods(uid)) return;
  const object = approvalName(name, pending.call);
  const found = house.find("Approval", object)?.status as { readonly decision?: unknown } | undefined;
  if (house.find("Approval", object) === undefined || found?.decision !== undefined) return;
  const isApproved = APPROVED.includes(pending.call);
  const decision = { decision: isApproved ? "Approved" : "Denied", decidedBy: "boss", at: new Date().toISOString(), ...(isApproved ? {} : { reason: REFUSAL }) };
  house.edit("Approval", object, ({ status }) => ({ status: { ...(status as object | undefined), decision } }));
  await play.strike({ kind: "decided", call: pending.call });
}

/** The result of a custom tool, when nothing of the session runs any more. */
async function post(play: Play): Promise<void> {
  const { house, uid, state } = play;
  const call = state.calls.find((candidate) => CALLS[candidate.call] === "custom" && candidate.attempts > 0 && candidate.finished === undefined);
  if (call === undefined || house.kubelet.hasPods(uid)) return;
  await say(play, { body: { type: "tool.finished", data: { call: call.call, status: "ok", content: POSTED } } });
}

async function say({ person, name, uid }: Play, { body, headers = {} }: { readonly body: unknown; readonly headers?: Readonly<Record<string, string>> }): Promise<void> {
  await person.send({ method: "POST", path: `/v1/namespaces/${NAMESPACE}/sessions/${name}/events?uid=${uid}`, headers, body });
}

/** Resolves when the operator has drawn the line, too. */
async function beSettled(play: Play): Promise<void> {
  const { house, name, uid } = play;
  await until(() => {
    const status = house.find("Session", name)?.status as { readonly result?: unknown } | undefined;
    return play.isOver || (status?.result !== undefined && !house.kubelet.hasPods(uid));
  });
}

/** The model waits with what comes after the sandbox was lost until the log knows that. */
async function holdAnswer(play: Play, { step }: Asked): Promise<void> {
  await play.strike({ kind: "asked", step });
  if (step !== AFTER_LOSS) return;
  await until(() => play.isOver || (play.hasLostSandbox && play.state.sandbox.bound === undefined));
}

async function answerRunner(play: Play, pod: PodProcess, { phase, events }: Question): Promise<void> {
  for (const event of events) {
    const key = phase === "before" ? play.naming.next(event) : undefined;
    if (key !== undefined) await play.strike({ kind: "before", key });
    else await strikeAfter(play, event);
    if (!pod.isAlive()) return;
  }
}

/** The stream may bring an event after its appender has had the answer: the name is that of the newest one like it. */
async function strikeAfter(play: Play, event: Question["events"][number]): Promise<void> {
  const likeIt = (): LogEvent | undefined => play.seen.findLast(({ type, data }) => type === event.type && isAlike(data, event.data));
  await until(() => play.isOver || likeIt() !== undefined);
  const naming = createNaming();
  const last = likeIt()?.seq ?? 0;
  const names = play.seen.filter(({ seq }) => seq <= last).map((one) => naming.name(one));
  await play.strike({ kind: "after", key: names.at(-1) ?? "" });
}

function isAlike(stored: object, sent: object): boolean {
  return (["call", "turn", "attempt", "for", "podUid", "through"] as const).every((name) => (stored as Record<string, unknown>)[name] === (sent as Record<string, unknown>)[name]);
}

interface Strikes {
  readonly strike: Play["strike"];
  readonly struck: readonly boolean[];
  startClock(): void;
  stopClock(): void;
}

function createStrikes(house: House, kills: readonly Kill[], play: () => Play): Strikes {
  const struck = kills.map(() => false);
  const fired = kills.map(() => false);
  const timers: NodeJS.Timeout[] = [];
  const strike = async (moment: Moment): Promise<void> => {
    const index = kills.findIndex((kill, at) => fired[at] === false && isSame(kill.moment, moment));
    const kill = kills[index];
    if (kill === undefined) return;
    fired[index] = true;
    struck[index] = await strikeDown(house, kill, play());
    if (moment.kind === "effect") rmSync(join(play().folder, holdOf(moment.mark)), { force: true });
  };
  return {
    strike, struck,
    startClock: () => {
      for (const { moment } of kills) if (moment.kind === "time") timers.push(setTimeout(() => void strike(moment), moment.ms));
    },
    stopClock: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function isSame(one: Moment, other: Moment): boolean {
  return describeKill({ victim: "runner", moment: one }) === describeKill({ victim: "runner", moment: other });
}

/** Resolves to whether there was something to kill. At a random time it is the next best process when there is none of the victim's kind. */
async function strikeDown(house: House, { victim, moment }: Kill, { uid }: Play): Promise<boolean> {
  if (victim === "operator" || victim === "gateway") {
    await house[victim].kill();
    return true;
  }
  const pod = newest(house, uid, victim) ?? (moment.kind === "time" ? newest(house, uid, "runner") : undefined);
  await pod?.kill();
  if (pod !== undefined || moment.kind !== "time") return pod !== undefined;
  await house.operator.kill();
  return true;
}

function newest(house: House, uid: string, component: PodProcess["component"]): PodProcess | undefined {
  return house.kubelet.pods.findLast((pod) => pod.sessionUid === uid && pod.component === component && pod.isAlive());
}

function linesIn(file: string): number {
  try {
    return readFileSync(file, "utf8").split("\n").length - 1;
  } catch {
    return 0;
  }
}

function executedBy(sandboxes: readonly PodProcess[]): readonly string[] {
  const lines = sandboxes.flatMap(({ folder }) => readFileSync(join(folder, "log"), "utf8").split("\n"));
  return lines.flatMap((line) => {
    const { message, call, attempt } = parseLine(line);
    return message === "call" ? [`${call ?? ""} ${attempt ?? 0}`] : [];
  });
}

function parseLine(line: string): { readonly message?: string; readonly call?: string; readonly attempt?: number } {
  try {
    return JSON.parse(line) as { message?: string };
  } catch {
    return {};
  }
}

/** Asks until there is something, for as long as a gateway may take to come back; then undefined. */
async function again<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const value = await ask();
    if (value !== undefined) return value;
    await sleep(TRY_AGAIN_MS);
  }
  return undefined;
}

async function readBlobs({ person, name, uid }: Play, log: readonly LogEvent[]): Promise<Readonly<Record<string, string>>> {
  const digests = new Set(log.flatMap(({ data }) => ("blob" in data && data.blob !== undefined ? [data.blob.sha256] : [])));
  const read = async (digest: string): Promise<readonly [string, string]> => {
    const reply = await again(async () => {
      const one = await person.send({ path: `/v1/namespaces/${NAMESPACE}/sessions/${name}/blobs/${digest}?uid=${uid}` });
      return one?.status === 200 ? one : undefined;
    });
    return [digest, typeof reply?.body === "string" ? reply.body : `no text: ${JSON.stringify(reply?.body)}`];
  };
  return Object.fromEntries(await Promise.all([...digests].map(read)));
}

function describeStuck({ house, name, uid, seen }: Play): string {
  const pods = house.api.store.list("/api/v1/pods").filter(({ body }) => body.metadata.labels?.[LABELS.sessionUid] === uid).map(({ body }) => body.metadata.name);
  const conditions = (house.find("Session", name)?.status as { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] } | undefined)?.conditions ?? [];
  const tail = seen.slice(-12).map(({ seq, type, data }) => `${seq} ${type} ${JSON.stringify(data).slice(0, 160)}`);
  const logs = house.kubelet.pods.filter((pod) => pod.sessionUid === uid).slice(-2).map((pod) => `--- ${pod.name}\n${readFileSync(join(pod.folder, "log"), "utf8").split("\n").slice(-8).join("\n")}`);
  return [`not over after ${STUCK_MS / 1000} s`, ...tail, `pods: ${pods.join(", ")}`, ...conditions.map(({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`), ...logs].join("\n    ");
}

/** What kills are planned from. */
export function baselineOf({ log, asked, pods, milliseconds }: Run): Baseline {
  return {
    log, pods, milliseconds,
    steps: [...new Set(asked.map(({ step }) => step))],
    marks: Object.values(MARKS),
    decided: log.flatMap((event) => (event.type === "approval.requested" ? [event.data.call] : [])),
  };
}
