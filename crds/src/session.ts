import { z } from "zod";
import { configMapKeyRef, costUSD, exactlyOne, localRef, maxTurns, timeoutSeconds, totalTokens } from "./refs.ts";
import { boundedText, matching } from "./text.ts";
import type { BaseStatus, Resource } from "./object.ts";

// Relative, without an empty, "." or ".." segment: RE2 has no look-ahead, so each segment is spelt out.
const SEGMENT = "([A-Za-z0-9_-][A-Za-z0-9_.-]*|\\.[A-Za-z0-9_-][A-Za-z0-9_.-]*)";

export const sessionSpecSchema = z
  .object({
    agentRef: localRef("agentRef names the Agent to run; required.", "an Agent"),
    environmentRef: localRef("environmentRef names the Environment to run in; required.", "an Environment"),
    prompt: boundedText(
      "prompt is the first message, at most 98304 characters, longer ones by promptFrom; absent means promptFrom.",
      98304,
      "the text is longer than 98304 characters: put it into a ConfigMap and use promptFrom",
    ).optional(),
    promptFrom: z
      .object({ configMapKeyRef: configMapKeyRef("configMapKeyRef names the ConfigMap key that holds the first message; required.") })
      .describe("promptFrom takes the first message from a ConfigMap, at most 524288 bytes, read once when the session is bound; absent means prompt.")
      .optional(),
    mode: z
      .enum(["Task", "Conversation"])
      .describe("mode of the session: Task ends with the answer, Conversation waits for the next message; absent means Task.")
      .optional(),
    files: z
      .array(
        z
          .object({
            path: matching(`^${SEGMENT}(/${SEGMENT})*$`, 512, {
              description: "path of the file in the workspace, relative to it; required.",
              hint: "write a path relative to the workspace such as notes/style.md: names of letters, digits, '.', '_' and '-' with a / between them, no .. and no / at the start",
            }),
            configMapKeyRef: configMapKeyRef("configMapKeyRef names the ConfigMap key that holds the file; required."),
          })
          .describe("files entry: one file that is there before the first command."),
      )
      .max(16)
      .meta({ description: "files put into the workspace of each sandbox, 524288 bytes in all, read once when the session is bound; absent means none.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"] })
      .optional(),
    limits: z
      .object({
        maxTurns: maxTurns("absent means the tightest of Agent and Environment.").optional(),
        timeoutSeconds: timeoutSeconds("absent means the Environment's.").optional(),
        costUSD: costUSD("absent means the Environment's.").optional(),
        totalTokens: totalTokens("absent means the Environment's.").optional(),
      })
      .describe("limits of this session, only ever tighter than the Environment's; absent means those of Agent and Environment.")
      .optional(),
    idleTimeoutSeconds: z.int().min(0).max(604800).describe("idleTimeoutSeconds is how long in seconds a session that waits for a message, an approval, a client or its resumption keeps its pods, not its state; absent means 300.").optional(),
    ttlSecondsAfterFinished: z.int().min(0).max(31536000).describe("ttlSecondsAfterFinished is when in seconds after its end the Session is deleted; absent means never.").optional(),
    suspend: z.boolean().describe("suspend lets nothing new begin while it is true: what runs is finished, and after idleTimeoutSeconds there are no pods; absent means false.").optional(),
    cancel: z.boolean().describe("cancel ends the session with the outcome Cancelled; it cannot be undone; absent means false.").optional(),
  })
  .meta({
    description: "spec is one run: Agent, Environment and prompt. It is immutable but for suspend, cancel and ttlSecondsAfterFinished.",
    "x-kubernetes-validations": [exactlyOne("prompt", "promptFrom")],
  });

export type SessionSpec = z.infer<typeof sessionSpecSchema>;

/** Spec fields that may change after creation; the immutability rule is generated from all others. */
export const SESSION_MUTABLE_FIELDS = ["suspend", "cancel", "ttlSecondsAfterFinished"] as const;

/** How long a Conversation that waits keeps its pods when its spec does not say. */
export const DEFAULT_IDLE_TIMEOUT_SECONDS = 300;

const count = (description: string) => z.int().min(0).describe(description).optional();
const text = (description: string, max: number) => z.string().max(max).describe(description).optional();
const podName = (description: string) => z.string().max(253).describe(description).optional();

/** Status fields besides conditions and observedGeneration. */
export const sessionStatusSchema = z.object({
  agentRevision: text("agentRevision is the digest of the Agent's spec that the session is bound to; absent before it is bound.", 80),
  environmentRevision: text("environmentRevision is the digest of the Environment's spec that the session is bound to; absent before it is bound.", 80),
  startTime: z.string().max(64).meta({ description: "startTime is when the session was bound, RFC 3339; absent before.", format: "date-time" }).optional(),
  completionTime: z.string().max(64).meta({ description: "completionTime is when the session finished, RFC 3339; absent before.", format: "date-time" }).optional(),
  runner: z
    .object({
      podName: podName("podName of the newest runner pod; absent before the first, and while a session that waits has given up its pods."),
      attempts: count("attempts is how many runner pods were started so far."),
      failuresInARow: count("failuresInARow is how many runner pods in a row ended without progress of the log; absent means 0."),
      disruptionsInARow: count("disruptionsInARow is how many runner pods in a row the cluster took away (drained, evicted, preempted, node lost, deleted) without progress of the log; absent means 0."),
      replacesPodUID: text("replacesPodUID is the UID of the pod that the newest runner pod takes over from; absent for the first.", 64),
    })
    .describe("runner says which pod runs the harness; absent before the first attempt.")
    .optional(),
  sandbox: z.object({ podName: podName("podName of the newest sandbox pod; absent before the first.") }).describe("sandbox says which pod runs the commands; absent when none was needed.").optional(),
  limits: z
    .object({
      maxTurns: count("maxTurns is the number of model answers that the session may use, counted per input."),
      timeoutSeconds: count("timeoutSeconds is the time in seconds that the session may take."),
      costUSD: text("costUSD is the money in USD that the session may spend, as a decimal string; absent means no limit.", 32),
      totalTokens: count("totalTokens is the number of tokens that the session may use; absent means no limit."),
    })
    .describe("limits are the effective ones, the tightest of Session, Agent and Environment; absent before it is bound.")
    .optional(),
  turns: count("turns is the number of model answers so far."),
  toolCalls: count("toolCalls is the number of tool calls finished so far."),
  lastEventSeq: count("lastEventSeq is the sequence number of the newest event of the log that this status covers."),
  usage: z
    .object({
      inputTokens: count("inputTokens sent to models so far, in tokens, cached ones included."),
      cachedInputTokens: count("cachedInputTokens is the part of inputTokens that endpoints served from their cache, in tokens."),
      outputTokens: count("outputTokens received from models so far, in tokens, reasoning included."),
      totalTokens: count("totalTokens is inputTokens plus outputTokens, in tokens."),
      costUSD: text("costUSD is the money spent so far in USD as a decimal string; absent when a model used has no pricing.", 32),
      uncertainCostUSD: text("uncertainCostUSD is what lost answers and answers without usage may have cost besides, in USD as a decimal string; absent means nothing.", 32),
    })
    .describe("usage is what the session has consumed so far, as computed by the gateway; absent before the first model answer.")
    .optional(),
  answer: z
    .object({
      text: text("text of the answer, at most 4096 bytes; the log holds the whole.", 4096),
      truncated: z.boolean().describe("truncated is true when text is only the start of the answer.").optional(),
    })
    .describe("answer is the newest one of a Conversation, while it waits for the next message; absent otherwise.")
    .optional(),
  result: z
    .object({
      outcome: text("outcome of the session, e.g. Completed; equals the reason of the condition Succeeded.", 64),
      text: text("text of the final answer, at most 4096 bytes; the log holds the whole.", 4096),
      truncated: z.boolean().describe("truncated is true when text is only the start of the answer.").optional(),
      message: text("message explains an outcome other than Completed and what to do about it.", 2048),
    })
    .describe("result of the session; absent until it has finished.")
    .optional(),
  trace: z
    .object({ id: text("id of the session's trace, 32 hexadecimal digits.", 32), url: text("url shows the trace, from the Environment's telemetry.traceURLTemplate; absent without one.", 2048) })
    .describe("trace of the session; absent before it is bound.")
    .optional(),
  recentSteps: z
    .array(
      z
        .object({
          seq: count("seq of the event that ended the step."),
          kind: z.enum(["model", "tool"]).describe("kind of the step: a model answer or a tool call.").optional(),
          name: text("name of the model or tool.", 256),
          outcome: text("outcome of the step: a finish reason for model, ok or what went wrong for tool.", 64),
          seconds: count("seconds the step took, rounded down."),
        })
        .describe("recentSteps entry: one finished step."),
    )
    .max(10)
    .meta({ description: "recentSteps are the last steps, oldest first, at most 10.", "x-kubernetes-list-type": "atomic" })
    .optional(),
});

export type SessionStatus = BaseStatus & Readonly<z.infer<typeof sessionStatusSchema>>;
export type Session = Resource<SessionSpec, SessionStatus>;
