import assert from "node:assert/strict";
import { test } from "node:test";
import { eventData, MODEL_FAILURES } from "@paddock/api/log/events";
import type { EventType, NewEvent } from "@paddock/api/log/events";
import { boundEvents, event, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent } from "../../../test/fakes/session.ts";
import { activityLabel, LABELS } from "./labels.ts";
import { createMetrics, serveMetrics } from "./metrics.ts";
import type { Metrics } from "./metrics.ts";
import { openPlay } from "./testdata/play.ts";
import { askedEvents, grantedEvent, SECRET_WORDS, storyBundle, tellStory } from "./testdata/story.ts";

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

/** Prometheus' text form, read by its grammar; fails on a line that has no place in it. */
function parse(text: string): readonly Family[] {
  return text
    .trim()
    .split(/\n\n|\n(?=# HELP )/)
    .map((block): Family => {
      const [help = "", type = "", ...lines] = block.trim().split("\n");
      const [, name = "", words = ""] = /^# HELP (\w+) (.+)$/.exec(help) ?? assert.fail(`no HELP: ${help}`);
      const [, kind = ""] = new RegExp(`^# TYPE ${name} (counter|gauge|histogram|summary)$`).exec(type) ?? assert.fail(`no TYPE: ${type}`);
      return { name, help: words, type: kind, samples: lines.map(parseSample) };
    });
}

function parseSample(line: string): Sample {
  const [, name = "", labels = "", value = ""] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? assert.fail(`no sample: ${line}`);
  assert.match(value, /^[-+]?([0-9.]+(e[-+]?[0-9]+)?|inf|nan)$/i, line);
  return { name, value: Number(value), labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = "", word = ""]) => [label, word])) };
}

async function ours(metrics: Metrics): Promise<readonly Family[]> {
  return parse(await metrics.text()).filter(({ name }) => name.startsWith("paddock_"));
}

/** Values above 0 of a family, by label value; "" where it has no label. */
async function valuesOf(metrics: Metrics, name: string): Promise<Record<string, number>> {
  const family = (await ours(metrics)).find((candidate) => candidate.name === `paddock_gateway_${name}`) ?? assert.fail(name);
  return Object.fromEntries(family.samples.filter(({ value }) => value > 0).map(({ labels, value }) => [Object.values(labels).join(","), value]));
}

function store(metrics: Metrics, commits: readonly (readonly NewEvent[])[], uid = "u"): void {
  const bundle = storyBundle(uid);
  const play = openPlay(bundle);
  for (const events of commits) metrics.stored(play.commit(...events));
}

/** What sandboxes reach and ask for, with names of people's in it. */
const EGRESS: readonly (readonly NewEvent[])[] = [
  [event("isolation.reported", { podUid: "s1", probed: ["bash"], open: [] }), event("isolation.reported", { podUid: "s2", probed: ["bash"], open: ["bash"] })],
  [
    event("egress.decided", { host: "model.team.svc", port: 443, decision: "Allow", rule: "network.allowedHosts[0]", credential: "bash", count: 3, bytesSent: 10, bytesReceived: 200 }),
    event("egress.decided", { host: "model.team.svc", port: 443, decision: "Allow", rule: "HostNotAllowed", count: 0, bytesSent: 1, bytesReceived: 2 }),
    event("egress.decided", { host: "evil.example.com", port: 443, decision: "Deny", rule: "HostNotAllowed evil.example.com", count: 7, bytesSent: 0, bytesReceived: 0 }),
    event("egress.decided", { host: "bash", port: 443, decision: "Deny", rule: "TooMany", count: 1, bytesSent: 0, bytesReceived: 0 }),
  ],
];

/** Every function of the metrics, with every value it takes. */
function useEverything(metrics: Metrics): void {
  store(metrics, tellStory(storyBundle("u")));
  store(metrics, [boundEvents(storyBundle("v")), ...EGRESS], "v");
  for (const type of Object.keys(eventData) as EventType[]) for (const result of ["stored", "refused"] as const) metrics.appended(type, result);
  for (const activity of LABELS.activity) metrics.sessionEntered(activity);
  for (const result of LABELS.reviewed) metrics.reviewed(result);
  for (const result of LABELS.spanResult) metrics.spans(result, 1);
  for (const audience of LABELS.audience) {
    metrics.streamOpened(audience);
    metrics.rateLimited(audience);
    metrics.appendTook(audience, 0.02);
  }
  metrics.committed(3);
  metrics.expired(2);
  metrics.corrupted();
}

/** The values that each label may have, in whichever family. */
const CLOSED: Readonly<Record<string, readonly string[]>> = {
  type: [...Object.keys(eventData), ...LABELS.tokenType],
  result: ["stored", "refused", ...LABELS.modelResult, ...LABELS.reviewed, ...LABELS.spanResult, ...LABELS.isolation],
  reason: LABELS.egressReason,
  direction: LABELS.direction,
  role: LABELS.audience,
  audience: LABELS.audience,
  activity: LABELS.activity,
  outcome: LABELS.outcome,
  status: LABELS.toolStatus,
  decision: LABELS.approvalDecision,
};

test("labels are of closed sets, whatever happens, and tell nothing of who ran what", async () => {
  const metrics = createMetrics();
  useEverything(metrics);
  const families = await ours(metrics);
  const bundle = storyBundle("u");
  const foreign = [...Object.values(SECRET_WORDS), bundle.session.namespace, bundle.session.name, bundle.environment.name, "scripted", "model.team.svc", "bash"];
  const buckets = families.flatMap(({ type, samples }) => (type === "histogram" ? samples.filter(({ name }) => name.endsWith("_bucket")) : []));
  assert.ok(buckets.length > 0 && buckets.every(({ labels }) => "le" in labels));
  const labels = families.flatMap(({ samples }) => samples).flatMap(({ name, labels: { le: _, ...labels } }) => Object.entries(labels).map(([label, value]) => ({ name, label, value })));
  assert.ok(labels.length > 100, `${labels.length}`);
  for (const { name, label, value } of labels) {
    assert.ok(CLOSED[label]?.includes(value), `${name} ${label}=${value}`);
    assert.ok(!foreign.includes(value), value);
  }
});

test("names and help are as Prometheus wants them", async () => {
  const metrics = createMetrics();
  const families = await ours(metrics);
  assert.ok(families.length >= 19, `${families.length}`);
  assert.equal(new Set(families.map(({ help }) => help)).size, families.length);
  for (const { name, help, type } of families) {
    assert.match(name, /^paddock_gateway_[a-z]+(_[a-z]+)*$/);
    assert.equal(name.endsWith("_total"), type === "counter", name);
    assert.match(help, /^[A-Z].+\.$/, name);
    // Base units, and the names that histograms make themselves.
    assert.doesNotMatch(name, /milliseconds|_ms\b|kilobytes|_count$|_sum$|_bucket$|counter|gauge|histogram/);
  }
});

test("what has not happened yet is 0, and not absent", async () => {
  const families = await ours(createMetrics());
  const names = ["runs_finished_total", "model_requests_total", "tool_calls_total", "approvals_total", "tokens_total", "sessions", "open_streams", "spans_total", "rate_limited_requests_total", "egress_decisions_total", "egress_bytes_total", "isolation_reports_total"];
  for (const name of names) {
    const { samples = [] } = families.find((family) => family.name === `paddock_gateway_${name}`) ?? {};
    assert.ok(samples.length > 1 && samples.every(({ value }) => value === 0), name);
  }
});

test("a session's steps are counted as they end", async () => {
  const metrics = createMetrics();
  store(metrics, tellStory(storyBundle("u")));
  assert.deepEqual(await valuesOf(metrics, "runs_finished_total"), { Completed: 1 });
  assert.deepEqual(await valuesOf(metrics, "model_requests_total"), { answered: 2, overloaded: 1, lost: 1 });
  assert.deepEqual(await valuesOf(metrics, "tool_calls_total"), { ok: 1, error: 1 });
  assert.deepEqual(await valuesOf(metrics, "approvals_total"), { Approved: 1 });
  assert.deepEqual(await valuesOf(metrics, "tokens_total"), { input: 20, output: 10 });
  // Overloaded certainly cost nothing; the lost one may have cost its reservation.
  assert.deepEqual(await valuesOf(metrics, "uncertain_cost_usd_total"), { "": 1.5 });
  const wait = (await ours(metrics)).find(({ name }) => name === "paddock_gateway_approval_wait_seconds");
  assert.deepEqual(wait?.samples.filter(({ name }) => /_(sum|count)$/.test(name)).map(({ value }) => value), [6, 1]);
});

test("money and tokens: cached input apart, answers without usage uncertain", async () => {
  const metrics = createMetrics();
  const answer = respondedEvent(1, 1);
  assert.ok(answer.type === "model.responded");
  const usage = { inputTokens: 100, cachedInputTokens: 80, outputTokens: 7 };
  const paid = event("model.responded", { ...answer.data, usage, costNanoUSD: "250000000" });
  const { usage: _, ...silent } = { ...answer.data, turn: 2, usage: undefined };
  store(metrics, [boundEvents(storyBundle("u")), [startedEvent("p", 1), grantedEvent(1, 1, 3)], [paid], [grantedEvent(2, 1, 5)], [event("model.responded", silent)]]);
  assert.deepEqual(await valuesOf(metrics, "tokens_total"), { input: 20, cached: 80, output: 7 });
  assert.deepEqual(await valuesOf(metrics, "cost_usd_total"), { "": 0.25 });
  assert.deepEqual(await valuesOf(metrics, "uncertain_cost_usd_total"), { "": 1.5 });
});

test("every class of failure is a result, and only those that may have cost something are uncertain", async () => {
  const metrics = createMetrics();
  for (const failure of MODEL_FAILURES) {
    store(metrics, [boundEvents(storyBundle("u")), [startedEvent("p", 1), grantedEvent(1, 1, 3)], [event("model.failed", { turn: 1, attempt: 1, class: failure, message: "" })]], failure);
  }
  assert.deepEqual(await valuesOf(metrics, "model_requests_total"), Object.fromEntries(MODEL_FAILURES.map((failure) => [failure, 1])));
  assert.deepEqual(await valuesOf(metrics, "uncertain_cost_usd_total"), { "": 1.5 * (MODEL_FAILURES.length - 3) });
});

test("an amount that no counter takes does not fail the append", async () => {
  const metrics = createMetrics();
  const answer = respondedEvent(1, 1);
  assert.ok(answer.type === "model.responded");
  const bundle = storyBundle("u");
  store(metrics, [boundEvents(bundle), [startedEvent("p", 1), grantedEvent(1, 1, 3)], [event("model.responded", { ...answer.data, costNanoUSD: "9".repeat(400) })], [runFinishedEvent()]]);
  assert.deepEqual(await valuesOf(metrics, "uncounted_commits_total"), { "": 1 });
  assert.deepEqual(await valuesOf(metrics, "runs_finished_total"), { Completed: 1 });
});

test("what a run leaves open is counted with it, and payloads by their size", async () => {
  const metrics = createMetrics();
  const bundle = storyBundle("u");
  const blob = { sha256: `sha256:${"0".repeat(64)}`, bytes: 20_000, mediaType: "text/plain" } as const;
  store(metrics, [
    boundEvents(bundle),
    [startedEvent("p", 1), grantedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }, { name: "read", arguments: "{}" }])],
    [...askedEvents(bundle, "root/1/0"), toolFinishedEvent("root/1/1", { status: "error", blob })],
    [runFinishedEvent({ outcome: "DeadlineExceeded" })],
  ]);
  assert.deepEqual(await valuesOf(metrics, "tool_calls_total"), { error: 1, unfinished: 1 });
  assert.deepEqual(await valuesOf(metrics, "approvals_total"), { Withdrawn: 1 });
  assert.deepEqual(await valuesOf(metrics, "runs_finished_total"), { DeadlineExceeded: 1 });
  assert.deepEqual(await valuesOf(metrics, "blob_bytes_total"), { "": 20_000 });
});

test("what sandboxes reach and ask for is counted by reason, never by host", async () => {
  const metrics = createMetrics();
  store(metrics, [boundEvents(storyBundle("u")), ...EGRESS]);
  assert.deepEqual(await valuesOf(metrics, "egress_decisions_total"), { Allowed: 3, HostNotAllowed: 7, TooMany: 1 });
  assert.deepEqual(await valuesOf(metrics, "egress_bytes_total"), { sent: 11, received: 202 });
  assert.deepEqual(await valuesOf(metrics, "isolation_reports_total"), { closed: 1, open: 1 });
});

test("sessions are counted where they are", async () => {
  const metrics = createMetrics();
  const waiting = (reason: "input" | "approval" | "tool" | "resume") => activityLabel({ waiting: { for: reason, seq: 1, since: "", text: "" } });
  assert.deepEqual([activityLabel({}), waiting("input"), waiting("approval"), waiting("tool"), waiting("resume")], LABELS.activity.slice(0, 5));
  metrics.sessionEntered("Active");
  metrics.sessionEntered("Active");
  metrics.sessionLeft("Active");
  metrics.sessionEntered("WaitingForInput");
  assert.deepEqual(await valuesOf(metrics, "sessions"), { Active: 1, WaitingForInput: 1 });
});

test("they are served on a port of their own, and nothing else is", async (context) => {
  const server = await serveMetrics(createMetrics(), 0);
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const base = `http://127.0.0.1:${address.port}`;
  const response = await fetch(`${base}/metrics`);
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.match(await response.text(), /^paddock_gateway_runs_finished_total\{outcome="Completed"\} 0$/m);
  assert.equal((await fetch(`${base}/`)).status, 404);
  assert.equal((await fetch(`${base}/metrics`, { method: "POST" })).status, 404);
});
