import { searchOf } from "./origins.ts";
import type { Origin, Search } from "./origins.ts";
import { buildSpan, subjectOf } from "./spans.ts";
import type { SpanData, Subject } from "./spans.ts";
import { createStarts } from "./starts.ts";
import { stepsOf } from "./steps.ts";
import type { Commit, Step } from "./steps.ts";
import type { TracingOptions } from "./tracing.ts";

/** Spans whose beginning is being read from the log; more are sent with what their end tells. */
const SEARCHES = 256;

export interface Recorder {
  stored(commit: Commit): void;
  /** Resolves when no beginning is being read. Never rejects. */
  idle(): Promise<void>;
}

export interface RecorderPorts extends Pick<TracingOptions, "events" | "logger"> {
  emit(span: SpanData): void;
}

/** Makes one span of each step that a commit ends. A beginning that this process did not see, and content, are read from the log, one after the other. */
export function createRecorder({ events, logger, emit }: RecorderPorts): Recorder {
  const starts = createStarts();
  let searching = 0;
  let searches = Promise.resolve();

  const finish = async (uid: string, span: SpanData, { query, read }: Search): Promise<void> => {
    const origin = await events(uid, query).then(read).catch((error: unknown): Origin => {
      logger.warn({ uid, err: error }, "the beginning of a span cannot be read from the log");
      return {};
    });
    emit(withOrigin(span, origin));
  };

  const record = (subject: Subject, step: Step): void => {
    const span = buildSpan(subject, step);
    const startMs = starts.take(subject.uid, step);
    const search = startMs === undefined || subject.content ? searchOf(step, subject.content) : undefined;
    if (search === undefined || searching >= SEARCHES) return emit(withOrigin(span, startMs === undefined ? {} : { startMs }));
    searching += 1;
    searches = searches
      .then(() => finish(subject.uid, span, search))
      .catch((error: unknown) => logger.warn({ err: error }, "a span is lost"))
      .finally(() => (searching -= 1));
  };

  return {
    stored: ({ before, bundle, events: stored }) => {
      try {
        const { uid } = bundle.session;
        for (const event of stored) starts.see(uid, event);
        const steps = stepsOf({ before, events: stored });
        if (steps.length === 0) return;
        const subject = subjectOf(bundle);
        for (const step of steps) record(subject, step);
      } catch (error) {
        logger.warn({ err: error }, "a commit made no spans");
      }
    },
    idle: () => searches,
  };
}

function withOrigin(span: SpanData, { startMs = span.startMs, attributes = {} }: Origin): SpanData {
  return { ...span, startMs, attributes: { ...span.attributes, ...attributes } };
}
