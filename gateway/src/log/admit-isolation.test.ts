import { describe } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { EGRESS_EVENTS_PER_MINUTE } from "@paddock/api/log/limits";
import type { SessionState } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, decidedEvent, event, foldAll, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolStartedEvent } from "../../../test/fakes/session.ts";
import { admit } from "./admit.ts";
import type { Admission, Appender } from "./admission.ts";
import { rowsOf } from "./testdata/rows.ts";

// What a sandbox reaches, and what programs in it ask for.

/** What foldAll stamps every event with. */
const NOW = new Date("2026-01-01T00:00:00.000Z");
const plain = buildTestBundle("u", { startTime: NOW.toISOString() });
const unverified: Bundle = { ...plain, agent: { ...plain.agent, spec: { ...plain.agent.spec, customTools: [{ name: "post_note", description: "Post a note.", inputSchema: {} }] } } };
const { network: _, ...spec } = unverified.environment.spec;
/** Says nothing about enforcement, which means Verified. */
const bundle: Bundle = { ...unverified, environment: { ...unverified.environment, spec } };
const byName: Bundle = { ...bundle, environment: { ...bundle.environment, spec: { ...spec, network: { enforcement: "Verified" } } } };

interface Asked {
  readonly bundle?: Bundle;
  readonly now?: Date;
  readonly who?: Appender;
}

const RUNNER: Appender = { role: "runner", podUid: "p1", epoch: 1, newestPodUid: "p1" };

function ask(state: SessionState, appended: NewEvent, { bundle: frozen = bundle, now = NOW, who = RUNNER }: Asked = {}): Admission {
  return admit(state, frozen, appended, { who, now });
}

const { accepts, refuses } = rowsOf(ask);

const [BASH, NOTE] = ["root/1/0", "root/1/1"] as const;
const OPEN = "API server (tcp 10.96.0.1:443)";
const reported = (podUid: string, open: readonly string[] = []): NewEvent => event("isolation.reported", { podUid, probed: [OPEN, "metadata (tcp 169.254.169.254:80)"], open: [...open] });
const box = (podUid: string): NewEvent => event("sandbox.bound", { podUid, podName: podUid, address: "10.0.0.1" });
const decided = foldAll([
  ...boundEvents(bundle),
  startedEvent("p1", 1),
  requestedEvent(1, 1, 3),
  respondedEvent(1, 1, ["bash", "post_note"].map((name) => ({ name, arguments: "{}" }))),
  decidedEvent(bundle, BASH),
  decidedEvent(bundle, NOTE, { tool: "post_note", arguments: {} }),
]);
const pending = foldAll([event("sandbox.requested", { reason: "bash" })], decided);
const bound = foldAll([box("s1")], pending);
const proven = foldAll([reported("s1")], bound);
const exposed = foldAll([reported("s1", [OPEN])], bound);
const lost = foldAll([event("sandbox.lost", { podUid: "s1", reason: "gone" })], proven);
const replaced = foldAll([event("sandbox.requested", { reason: "again" }), box("s2")], lost);
const ends = ({ lastSeq }: SessionState): NewEvent => runFinishedEvent({ outcome: "NotIsolated", through: lastSeq, reason: "open" });

describe("what a sandbox reaches", () => {
  accepts("the first report about the bound sandbox", bound, reported("s1"));
  accepts("one with something open", bound, reported("s1", [OPEN]));
  accepts("one where nothing has to be proven", bound, reported("s1"), { bundle: unverified });
  accepts("one about the sandbox that came after a lost one", replaced, reported("s2", [OPEN]));
  refuses("one before a sandbox is bound", ["stale", "wait", /s1 is not the bound one \(none is bound\)/], pending, reported("s1"));
  refuses("one about another pod", ["stale", "wait", /s2 is not the bound one \(s1\)/], bound, reported("s2"));
  refuses("one about a sandbox that was lost", ["stale", "wait"], lost, reported("s1"));
  refuses("the same again", ["stale", "wait", /in the log already/], proven, reported("s1"));
  refuses("the same again, with something open", ["stale", "wait"], exposed, reported("s1", [OPEN]));
  refuses("a better one after it", ["denied", "final", /reported already, and otherwise: the first report holds/], exposed, reported("s1"));
  refuses("a worse one after it", ["denied", "final", /the first report holds/], proven, reported("s1", [OPEN]));
  refuses("one of the operator", ["forbidden", "final"], bound, reported("s1"), { who: { role: "operator" } });
});

describe("a command in a sandbox", () => {
  const bash = toolStartedEvent(BASH, 1);
  accepts("it when its sandbox reaches nothing", proven, bash);
  accepts("it when its sandbox reaches nothing, and verification is asked for by name", proven, bash, { bundle: byName });
  refuses("it without a sandbox", ["stale", "wait", /root\/1\/0 to bash has no sandbox: append sandbox\.requested/], decided, bash);
  refuses("it while the sandbox comes", ["stale", "wait"], pending, bash);
  refuses("it before the report", ["unexpected", "final", /nothing is known about what sandbox pod s1 reaches: append isolation\.reported first/], bound, bash);
  refuses("it before the report of a sandbox that came later", ["unexpected", "final", /s2/], replaced, bash);
  refuses("it when something is open", ["denied", "final", /s1 reaches what it must not \(API server \(tcp 10\.96\.0\.1:443\)\).*outcome NotIsolated/], exposed, bash);
  refuses("it when something is open and verification is asked for by name", ["denied", "final"], exposed, bash, { bundle: byName });
  for (const [name, state] of [["without a report", bound], ["with something open", exposed], ["without a sandbox", decided]] as const) accepts(`it ${name} where the Environment says Unverified`, state, bash, { bundle: unverified });
  refuses("one that nobody allowed, whatever is open", ["unexpected", "final", /is not decided/], foldAll([requestedEvent(2, 1, 6), respondedEvent(2, 1, [{ name: "bash", arguments: "{}" }])], proven), toolStartedEvent("root/2/0", 1));
});

describe("a custom tool's call", () => {
  const started = foldAll([event("tool.started", { call: NOTE, attempt: 1, idempotencyKey: "k", deadline: NOW.toISOString() })], decided);
  refuses("a second start as ever, without a sandbox", ["unexpected", "wait", /a client of custom tool post_note gives its result/], started, toolStartedEvent(NOTE, 2));
});

describe("the end of a run as NotIsolated", () => {
  accepts("it when something is open, with its calls open", exposed, ends(exposed));
  accepts("it when the bound sandbox says nothing", bound, ends(bound));
  refuses("it when nothing is open", ["denied", "final", /no sandbox was reported to reach what it must not/], proven, ends(proven));
  refuses("it without a sandbox", ["denied", "final"], decided, ends(decided));
  refuses("it where the Environment accepts that", ["denied", "final", /is Unverified, which accepts/], exposed, ends(exposed), { bundle: unverified });
  refuses("it when something came since", ["stale", "wait"], exposed, runFinishedEvent({ outcome: "NotIsolated", through: exposed.lastNewsSeq - 1 }));
  accepts("it by the operator, whatever was reported", proven, ends(proven), { who: { role: "operator" } });
});

describe("decisions about traffic", () => {
  const egress = (change: Partial<EventDataOf<"egress.decided">> = {}): NewEvent => event("egress.decided", { host: "a.example.com", port: 443, decision: "Allow", rule: "network.allowedHosts[0]", count: 1, bytesSent: 1, bytesReceived: 2, ...change });
  const most = foldAll(Array<NewEvent>(EGRESS_EVENTS_PER_MINUTE).fill(egress()), proven);
  const after = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
  accepts("one that allows", proven, egress());
  accepts("one with bytes alone", proven, egress({ count: 0 }));
  accepts("one that denies", proven, egress({ decision: "Deny", rule: "HostNotAllowed" }));
  accepts("one that says more", proven, egress({ decision: "Deny", rule: "AddressNotAllowed 10.0.0.1" }));
  refuses("a denial for a reason that nobody knows", ["malformed", "final", /is one of Malformed, HostNotAllowed.*, not network\.allowedHosts/], proven, egress({ decision: "Deny" }));
  accepts("the last one of a minute", foldAll(Array<NewEvent>(EGRESS_EVENTS_PER_MINUTE - 1).fill(egress()), proven), egress());
  refuses("more than a minute has", ["too-many", "wait", /96 events egress\.decided within a minute/], most, egress());
  refuses("more than a minute has, until it is over", ["too-many", "wait"], most, egress(), { now: after(59) });
  accepts("the next minute's", most, egress(), { now: after(60) });
  accepts("a command however much was told", most, toolStartedEvent(BASH, 1));
});
