import type { ChatCompletionCreateParamsStreaming } from "openai/resources/chat/completions";
import type { Bundle } from "@paddock/api/log/bundle";
import type { ModelEndpoint } from "@paddock/api/environment";
import { decideTool } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";
import type { ToolDefinition } from "@paddock/api/policy/tools";
import type { ChatMessage } from "../context/messages.ts";

/** The Environment's entry for the model that the Agent asks. Throws RangeError when the bundle has none: it was bound wrongly. */
export function endpointOf({ agent, environment }: Bundle): ModelEndpoint {
  const { name } = agent.spec.model;
  const entry = environment.spec.models.find((candidate) => candidate.name === name);
  if (entry === undefined) throw new RangeError(`environment ${environment.name} has no model called ${name}, which agent ${agent.name} asks`);
  return entry;
}

/** Tokens that an answer may have at most by what Agent and Environment say; undefined when neither says. */
export function askedOutputTokens(bundle: Bundle): number | undefined {
  const most = [bundle.agent.spec.model.maxOutputTokens, endpointOf(bundle).maxOutputTokens].filter((tokens) => tokens !== undefined);
  return most.length === 0 ? undefined : Math.min(...most);
}

/**
 * JSON text of the request for these messages, with an answer of at most `outputTokens`. Pure; the same log gives the same text. Only tools
 * that policy does not deny are offered: a model that is told of others wastes its turns on them.
 */
export function buildRequest(bundle: Bundle, messages: readonly ChatMessage[], outputTokens: number | undefined): string {
  const { model } = bundle.agent.spec;
  const tools = definitionsOf(bundle).map((definition) => ({ type: "function" as const, function: definition }));
  const request = {
    model: endpointOf(bundle).model,
    messages,
    ...(tools.length > 0 ? { tools } : {}),
    ...(model.temperature === undefined ? {} : { temperature: Number(model.temperature) }),
    ...(model.reasoningEffort === undefined ? {} : { reasoning_effort: model.reasoningEffort }),
    ...(outputTokens === undefined ? {} : { max_completion_tokens: outputTokens }),
    stream: true,
    stream_options: { include_usage: true },
  } satisfies RequestShape;
  return JSON.stringify(request);
}

function definitionsOf(bundle: Bundle): readonly ToolDefinition[] {
  const { tools = [], customTools = [] } = bundle.agent.spec;
  const own = tools.map(({ name }) => toolOf(name)?.definition).filter((definition) => definition !== undefined);
  const custom = customTools.map(({ name, description, inputSchema }) => ({ name, description, parameters: inputSchema }));
  return [...own, ...custom].filter(({ name }) => decideTool(bundle, name).decision !== "Deny");
}

/** The endpoint's parameters, but for the messages and tools, which are ours and read-only. */
type RequestShape = Omit<ChatCompletionCreateParamsStreaming, "messages" | "tools"> & { readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] };
