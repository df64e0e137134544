import { z } from "zod";
import { agentSpecSchema } from "../agent.ts";
import { environmentSpecSchema } from "../environment.ts";
import { USD_PATTERN } from "./money.ts";

/** Most bytes of UTF-8 of each text that is read from a ConfigMap for a bundle; files count together. */
export const TEXT_BYTES = 524_288;

// Instructions from a ConfigMap may be longer than those that an Agent holds itself; a character has at least one byte.
const completedAgentSpec = agentSpecSchema.extend({ instructions: z.string().min(1).max(TEXT_BYTES).optional() });

/**
 * Everything a session runs by, frozen when it is bound: later edits of Agent and Environment never change a running session.
 * `version` is the schema's; a gateway serves bundles of its own and the previous release.
 */
export const bundleSchema = z.object({
  version: z.literal(1),
  session: z.object({ uid: z.string().min(1), namespace: z.string().min(1), name: z.string().min(1) }),
  /** Absent in bundles of before it was there: a Task. */
  mode: z.enum(["Task", "Conversation"]).optional(),
  /** Contents of spec.files, for each new sandbox. */
  files: z.array(z.object({ path: z.string().min(1).max(512), content: z.string().max(TEXT_BYTES) })).max(16).optional(),
  /** `spec.instructions` is there always: text that the Agent only refers to is filled in, and `digest` is that of the spec so completed. */
  agent: z.object({ name: z.string(), uid: z.string(), digest: z.string(), spec: completedAgentSpec }),
  environment: z.object({ name: z.string(), uid: z.string(), digest: z.string(), spec: environmentSpecSchema }),
  /** Effective limits: the tightest of Session, Agent and Environment. */
  limits: z.object({ maxTurns: z.int().min(1), timeoutSeconds: z.int().min(1), costUSD: z.string().regex(new RegExp(USD_PATTERN)).optional(), totalTokens: z.int().min(1).optional() }),
  /** When the session was bound, RFC 3339; the deadline counts from here. */
  startTime: z.iso.datetime(),
  traceId: z.string().length(32),
});
export type Bundle = z.infer<typeof bundleSchema>;
