import type { Attributes } from "@opentelemetry/api";
import type { LogEvent, LogEventOf } from "@paddock/api/log/events";
import type { EventQuery } from "../store/store.ts";
import { cutContent, messagesOf, textMessages } from "./content.ts";
import type { Message } from "./content.ts";
import { NAME } from "./genai.ts";
import type { ModelStep, Step, ToolStep } from "./steps.ts";

/** What the log tells of a step that its end does not: when it began, and with what. */
export interface Origin {
  readonly startMs?: number;
  readonly attributes?: Attributes;
}

/** Where in the log a step's origin is. */
export interface Search {
  readonly query: EventQuery;
  read(events: readonly LogEvent[]): Origin;
}

/** A turn has at most 128 calls, and few of them start more than once. */
const TURN_EVENTS = 1000;

/** How to find a step's origin; undefined when its own events tell everything. Pure. */
export function searchOf(step: Step, content: boolean): Search | undefined {
  switch (step.kind) {
    case "run":
      return { query: { after: 0, limit: 2 }, read: (events) => ({ ...beginsAt(events, isA("session.bound")), attributes: promptAttributes(events, content) }) };
    case "model":
      return searchModel(step, content);
    case "tool":
      return searchTool(step, content);
    case "approval":
      return undefined;
  }
}

function searchModel({ request, after }: ModelStep, content: boolean): Search {
  const { seq, through = 0 } = request;
  const isIt = (event: LogEvent): boolean => event.seq === seq;
  if (!content) return { query: { after: seq - 1, limit: 1 }, read: (events) => beginsAt(events, isIt) };
  return {
    query: { after, limit: TURN_EVENTS, types: ["input.received", "tool.finished", "model.requested"] },
    read: (events) => {
      const messages = events.filter((event) => event.seq <= through).flatMap(messageOf);
      return { ...beginsAt(events, isIt), attributes: { [NAME.inputMessages]: messagesOf(messages) } };
    },
  };
}

/** The first start; the decision, when it never started. */
function searchTool({ call, after }: ToolStep, content: boolean): Search {
  return {
    query: { after, limit: TURN_EVENTS, types: ["tool.decided", "tool.started"] },
    read: (events) => {
      const decided = events.find((event) => isA("tool.decided")(event) && event.data.call === call.call) as LogEventOf<"tool.decided"> | undefined;
      const started = beginsAt(events, (event) => event.type === "tool.started" && event.data.call === call.call);
      return {
        ...(decided === undefined ? {} : { startMs: Date.parse(decided.at) }),
        ...started,
        ...(decided === undefined || !content ? {} : { attributes: { [NAME.arguments]: cutContent(JSON.stringify(decided.data.arguments)) } }),
      };
    },
  };
}

const isA =
  <T extends LogEvent["type"]>(type: T) =>
  (event: LogEvent): event is LogEventOf<T> =>
    event.type === type;

function beginsAt(events: readonly LogEvent[], isIt: (event: LogEvent) => boolean): Origin {
  const event = events.find(isIt);
  return event === undefined ? {} : { startMs: Date.parse(event.at) };
}

function promptAttributes(events: readonly LogEvent[], content: boolean): Attributes {
  const prompt = events.find(isA("input.received"));
  return prompt === undefined || !content ? {} : { [NAME.inputMessages]: textMessages("user", prompt.data.content) };
}

/** What the event adds to what the model is shown: inputs and results, since the answers are its own. */
function messageOf(event: LogEvent): readonly Message[] {
  if (event.type === "input.received") return [{ role: "user", text: event.data.content }];
  return event.type === "tool.finished" ? [{ role: "tool", call: event.data.call, result: event.data.content }] : [];
}
