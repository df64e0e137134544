import { z } from "zod";
import { configMapKeyRef, entryName, exactlyOne, maxTurns } from "./refs.ts";
import { boundedText, freeText, matching, preserved } from "./text.ts";
import type { BaseStatus, Resource } from "./object.ts";
import { TOOL_NAMES } from "./policy/tools.ts";

export const agentSpecSchema = z
  .object({
    description: freeText("description says in a sentence what the agent is for; absent means none.", 1024).optional(),
    model: z
      .object({
        name: entryName("name of a model of the Environment that the session runs in; required."),
        temperature: matching("^([01](\\.[0-9]{1,4})?|2(\\.0{1,4})?)$", 8, {
          description: 'temperature from "0" to "2" as a decimal string; absent leaves it to the endpoint.',
          hint: 'write a decimal string from "0" to "2" such as "0.2", with at most four decimals',
        }).optional(),
        reasoningEffort: z.enum(["minimal", "low", "medium", "high"]).describe("reasoningEffort asked of a reasoning model; absent leaves it to the endpoint.").optional(),
        maxOutputTokens: z.int().min(1).max(1000000).describe("maxOutputTokens of one answer, in tokens; absent takes the Environment's.").optional(),
      })
      .describe("model that the agent asks, by the name an Environment gives it; required."),
    instructions: boundedText(
      "instructions are the system prompt, at most 65536 characters; absent means instructionsFrom.",
      65536,
      "the text is longer than 65536 characters: put it into a ConfigMap and use instructionsFrom",
    ).optional(),
    instructionsFrom: z
      .object({ configMapKeyRef: configMapKeyRef("configMapKeyRef names the ConfigMap key that holds the instructions; required.") })
      .describe("instructionsFrom takes the system prompt from a ConfigMap, at most 524288 bytes, read once when a session is bound; absent means instructions.")
      .optional(),
    tools: z
      .array(
        z
          .object({
            name: z.enum(TOOL_NAMES).describe("name of a built-in tool; required."),
            permission: z.enum(["Allow", "Ask", "Deny"]).describe("permission for calls of the tool, Ask waits for a person's Approval; absent means Allow, and an Environment may be stricter.").optional(),
          })
          .describe("tools entry: one tool the agent may use."),
      )
      .max(32)
      .meta({
        description: "tools the agent may use; absent means none.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
      })
      .optional(),
    customTools: z
      .array(
        z
          .object({
            name: matching("^[A-Za-z][A-Za-z0-9_-]{0,63}$", 64, { description: "name of the tool as the model calls it, not one of a built-in tool; required.", hint: "write a name of letters, digits, '_' and '-' that starts with a letter, at most 64 characters, e.g. post_note" }),
            description: freeText("description tells the model what the tool does and when to use it; required.", 4096, 1),
            inputSchema: preserved("inputSchema of the arguments, a JSON Schema (draft 2020-12) of an object without remote references, at most 16384 bytes; required."),
            permission: z.enum(["Allow", "Ask"]).describe("permission for calls of the tool, Ask waits for a person's Approval before a client is asked; absent means Allow.").optional(),
            timeoutSeconds: z.int().min(1).max(604800).describe("timeoutSeconds is how long in seconds a call waits for a client's result; absent means 600.").optional(),
          })
          .describe("customTools entry: one tool whose calls are answered by a client of the log API."),
      )
      .max(32)
      .meta({
        description: "customTools are answered by a client of the log API, with no pod meanwhile; absent means none.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "x-kubernetes-validations": [{ rule: `self.all(tool, !(tool.name in [${TOOL_NAMES.map((name) => `'${name}'`).join(", ")}]))`, message: "a custom tool has the name of a built-in one: write another name" }],
      })
      .optional(),
    limits: z
      .object({ maxTurns: maxTurns("absent leaves it to Session and Environment.").optional() })
      .describe("limits of each session of the agent, only ever tighter than the Environment's; absent means the Environment's.")
      .optional(),
  })
  .meta({
    description: "spec is the harness: what the agent is told and may use. It holds no credential, endpoint, image or pod field.",
    "x-kubernetes-validations": [exactlyOne("instructions", "instructionsFrom")],
  });

export type AgentSpec = z.infer<typeof agentSpecSchema>;

export { DEFAULT_CUSTOM_TOOL_SECONDS } from "./log/limits.ts";

/** Status fields besides conditions and observedGeneration. */
export const agentStatusSchema = z.object({
  revision: z.string().max(80).describe("revision is the digest of the spec, as sessions record it; absent before the first look at the object.").optional(),
  tools: z.int().min(0).describe("tools is the number of spec.tools, for the TOOLS column; absent before the first look at the object.").optional(),
});

export type AgentStatus = BaseStatus & Readonly<z.infer<typeof agentStatusSchema>>;

export type Agent = Resource<AgentSpec, AgentStatus>;
