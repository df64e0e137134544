import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import type { Context } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import { NAME } from "./genai.ts";
import { createRecorder } from "./recorder.ts";
import type { SpanData } from "./spans.ts";
import type { Tracing, TracingOptions } from "./tracing.ts";

/** Spans that wait or are on their way; more are dropped. */
const QUEUED_SPANS = 2048;
/** A stop sends all batches at once. */
const BATCH_SPANS = 256;
const BATCH_DELAY_MS = 2000;
/** One export with its repetitions. */
const EXPORT_MS = 5000;
/** How long a stop waits for what is queued. */
const CLOSE_MS = 3000;

/** The SDK's code for it, which it keeps in a package of its own. */
const SUCCESS = 0;

export interface ExportTimes {
  readonly batchDelayMs: number;
  readonly exportMs: number;
  readonly closeMs: number;
}

/** Tracing that sends to an OTLP receiver. Only tests give another exporter and other times. */
export function openTracing(
  options: TracingOptions & { readonly endpoint: string },
  exporter: SpanExporter = createExporter(options.endpoint),
  { batchDelayMs, exportMs, closeMs }: ExportTimes = { batchDelayMs: BATCH_DELAY_MS, exportMs: EXPORT_MS, closeMs: CLOSE_MS },
): Tracing {
  const { metrics } = options;
  const counted = countExports(exporter, options);
  const processor = new BatchSpanProcessor({ exporter: counted.exporter, maxQueueSize: QUEUED_SPANS, maxExportBatchSize: BATCH_SPANS, scheduledDelayMillis: batchDelayMs, exportTimeoutMillis: exportMs });
  const ids = { next: { traceId: "", spanId: "" } };
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ [NAME.service]: "paddock-gateway" }),
    sampler: new AlwaysOnSampler(),
    idGenerator: { generateTraceId: () => ids.next.traceId, generateSpanId: () => ids.next.spanId },
    spanProcessors: [processor],
  });
  const tracer = provider.getTracer("paddock-gateway");
  const recorder = createRecorder({
    ...options,
    emit: (span) => {
      if (!counted.take(QUEUED_SPANS)) return metrics.spans("dropped", 1);
      ids.next = span;
      const { name, startMs, endMs, attributes, error, message } = span;
      // As dates: the SDK takes small numbers for times since the process began.
      const started = tracer.startSpan(name, { kind: span.kind === "client" ? SpanKind.CLIENT : SpanKind.INTERNAL, startTime: new Date(startMs), attributes }, contextOf(span));
      if (error !== undefined) started.setAttribute(NAME.error, error).setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) });
      started.end(new Date(Math.max(startMs, endMs)));
    },
  });
  const flush = async (): Promise<void> => {
    await recorder.idle();
    await provider.shutdown();
  };
  return { stored: recorder.stored, close: () => within(flush(), closeMs) };
}

function createExporter(endpoint: string): SpanExporter {
  return new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, "")}/v1/traces`, timeoutMillis: EXPORT_MS, concurrencyLimit: QUEUED_SPANS / BATCH_SPANS });
}

/** The parent was never a span of this process, and need not be: its id is known. */
function contextOf({ traceId, parentSpanId }: SpanData): Context {
  return parentSpanId === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: parentSpanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
}

interface CountedExports {
  readonly exporter: SpanExporter;
  /** Whether there is room for one more span; counts it as queued. */
  take(limit: number): boolean;
}

/** Counts what becomes of spans, and says once when the receiver stops to take them. */
function countExports(inner: SpanExporter, { metrics, logger, endpoint }: TracingOptions): CountedExports {
  let queued = 0;
  let isDown = false;
  const report = (error: Error | undefined): void => {
    if (isDown === (error !== undefined)) return;
    isDown = error !== undefined;
    if (isDown) logger.warn({ endpoint, reason: error?.message }, "spans cannot be sent: sessions go on without them");
    else logger.info({ endpoint }, "spans are sent again");
  };
  const settle = (spans: number, error: Error | undefined): void => {
    queued -= spans;
    metrics.spans(error === undefined ? "exported" : "failed", spans);
    report(error);
  };
  return {
    take: (limit) => queued < limit && (queued += 1) > 0,
    exporter: {
      export: (spans, done) => {
        inner.export(spans, (result) => {
          const code: number = result.code;
          settle(spans.length, code === SUCCESS ? undefined : (result.error ?? new Error("the receiver refused them")));
          done(result);
        });
      },
      shutdown: () => inner.shutdown(),
      forceFlush: async () => inner.forceFlush?.(),
    },
  };
}

/** Resolves when the promise settles or the time is over. */
async function within(promise: Promise<void>, ms: number): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise.catch(() => undefined), over]);
  clearTimeout(timer);
}
