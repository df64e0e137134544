import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { InMemorySpanExporter } from "@opentelemetry/sdk-trace";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import { boundEvents, runFinishedEvent } from "../../../test/fakes/session.ts";
import { spanIdOf } from "./ids.ts";
import type { Labels } from "./labels.ts";
import { openTracing } from "./otlp.ts";
import { openPlay } from "./testdata/play.ts";
import { storyBundle, tellStory } from "./testdata/story.ts";
import { createTracing } from "./tracing.ts";
import type { Tracing } from "./tracing.ts";

const ENDPOINT = "http://collector.invalid:4318";
const TIMES = { batchDelayMs: 1, exportMs: 60_000, closeMs: 60_000 };

interface Counted {
  readonly counts: Record<Labels["spanResult"], number>;
  readonly logged: string[];
  readonly options: Parameters<typeof openTracing>[0];
}

function count(endpoint = ENDPOINT): Counted {
  const counts = { exported: 0, failed: 0, dropped: 0 };
  const logged: string[] = [];
  const log = (_: unknown, message?: string): void => void logged.push(message ?? "");
  const options = { endpoint, events: () => Promise.resolve([]), metrics: { spans: (result: Labels["spanResult"], spans: number) => void (counts[result] += spans) }, logger: { warn: log, info: log } };
  return { counts, logged, options };
}

function tell(tracing: Tracing, uid: string): void {
  const bundle = storyBundle(uid);
  const play = openPlay(bundle);
  for (const events of tellStory(bundle)) tracing.stored(play.commit(...events));
}

/** One span each. */
function tellRuns(tracing: Tracing, from: number, to: number): void {
  for (let session = from; session < to; session += 1) {
    const bundle = storyBundle(`u${session}`);
    const play = openPlay(bundle);
    tracing.stored(play.commit(...boundEvents(bundle)));
    tracing.stored(play.commit(runFinishedEvent()));
  }
}

async function serve(context: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("spans reach the exporter as they were told, with the trace's and their own ids", async () => {
  const exporter = new InMemorySpanExporter();
  const { counts, options } = count();
  const tracing = openTracing(options, { export: (spans, done) => exporter.export(spans, done), shutdown: () => Promise.resolve() }, TIMES);
  tell(tracing, "u");
  await tracing.close();
  const spans = exporter.getFinishedSpans();
  assert.equal(spans.length, 8);
  assert.deepEqual(counts, { exported: 8, failed: 0, dropped: 0 });
  const run = spanIdOf("u", ["run"]);
  const parents: Readonly<Record<string, string | undefined>> = { "invoke_agent agent": undefined, "approval bash": spanIdOf("u", ["tool", "root/1/0"]) };
  for (const { name, parentSpanContext, resource, spanContext } of spans.map((span) => ({ ...span, spanContext: span.spanContext() }))) {
    assert.equal(spanContext.traceId, storyBundle("u").traceId);
    assert.equal(parentSpanContext?.spanId, name in parents ? parents[name] : run);
    assert.deepEqual(resource.attributes, { "service.name": "paddock-gateway" });
  }
  const named = (name: string) => spans.find((span) => span.name === name) ?? assert.fail(name);
  const root = named("invoke_agent agent");
  assert.equal(root.spanContext().spanId, run);
  assert.deepEqual([root.startTime, root.duration], [[Date.parse("2026-01-01T00:00:01Z") / 1000, 0], [21, 0]]);
  const failed = named("chat scripted");
  assert.deepEqual([failed.kind, failed.attributes["error.type"], failed.status], [SpanKind.CLIENT, "overloaded", { code: SpanStatusCode.ERROR }]);
  assert.equal(named("execute_tool read").status.code, SpanStatusCode.UNSET);
});

test("an exporter that hangs: the queue is bounded, the rest is dropped and counted, and telling costs nothing", () => {
  let exports = 0;
  const { counts, options } = count();
  const hung: SpanExporter = { export: () => void (exports += 1), shutdown: () => new Promise(() => undefined) };
  const tracing = openTracing(options, hung, { ...TIMES, exportMs: 1, closeMs: 1 });
  tellRuns(tracing, 0, 5000);
  assert.deepEqual(counts, { exported: 0, failed: 0, dropped: 5000 - 2048 });
  assert.ok(exports > 0);
  return tracing.close();
});

test("spans that were sent make room for others", async () => {
  const exporter = new InMemorySpanExporter();
  const { counts, options } = count();
  const tracing = openTracing(options, exporter, TIMES);
  for (const from of [0, 1500, 3000]) {
    tellRuns(tracing, from, from + 1500);
    await until(() => counts.exported === from + 1500);
  }
  await tracing.close();
  assert.deepEqual(counts, { exported: 4500, failed: 0, dropped: 0 });
});

test("an exporter that fails is counted, said once, and forgotten when it works again", async () => {
  const { counts, logged, options } = count();
  let fails = true;
  const [working, stopped] = [new InMemorySpanExporter(), new InMemorySpanExporter()];
  await stopped.shutdown();
  const flaky: SpanExporter = { export: (spans, done) => (fails ? stopped : working).export(spans, done), shutdown: () => Promise.resolve() };
  const tracing = openTracing(options, flaky, TIMES);
  tellRuns(tracing, 0, 10);
  await until(() => counts.failed === 10);
  tellRuns(tracing, 10, 20);
  await until(() => counts.failed === 20);
  fails = false;
  tellRuns(tracing, 20, 30);
  await until(() => counts.exported === 10);
  await tracing.close();
  assert.deepEqual(logged, ["spans cannot be sent: sessions go on without them", "spans are sent again"]);
});

test("a receiver that is not there: nothing throws, and closing has its bound", async (context) => {
  const address = await serve(context, (request) => request.socket.destroy());
  const { counts, options } = count(address);
  const tracing = await createTracing(options);
  tell(tracing, "u");
  await tracing.close();
  assert.equal(counts.exported, 0);
});

test("a receiver gets OTLP over HTTP below the endpoint's path", async (context) => {
  const requests: string[] = [];
  const address = await serve(context, (request, response) => {
    requests.push(`${request.method ?? ""} ${request.url ?? ""} ${request.headers["content-type"] ?? ""}`);
    request.resume().on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
  });
  const { counts, options } = count(`${address}/otlp/`);
  const tracing = await createTracing(options);
  tell(tracing, "u");
  await tracing.close();
  assert.deepEqual(requests, ["POST /otlp/v1/traces application/x-protobuf"]);
  assert.deepEqual(counts, { exported: 8, failed: 0, dropped: 0 });
});

test("without an endpoint there is nothing", async () => {
  const { counts, options } = count();
  const tracing = await createTracing({ ...options, endpoint: undefined });
  tell(tracing, "u");
  await tracing.close();
  assert.deepEqual(counts, { exported: 0, failed: 0, dropped: 0 });
});
