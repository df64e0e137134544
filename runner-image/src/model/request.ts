import type { ChatCompletionCreateParamsStreaming } from "openai/resources/chat/completions";
import type { Bundle } from "@paddock/api/log/bundle";
import type { ModelEndpoint } from "@paddock/api/environment";
import { decideTool } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";
import type { ChatMessage } from "../context/messages.ts";

/** The Environment's entry for the model that the Agent asks. Throws RangeError when the bundle has none: it was bound wrongly. */
export function endpointOf({ agent, environment }: Bundle): ModelEndpoint {
  const { name } = agent.spec.model;
  const entry = environment.spec.models.find((candidate) => candidate.name === name);
  if (entry === undefined) throw new RangeError(`environment ${environment.name} has no model called ${name}, which agent ${agent.name} asks`);
  return entry;
}

/**
 * JSON text of the request for these messages. Pure; the same log gives the same text. Only tools that policy can allow are offered: a
 * model that is told of others wastes its turns on them.
 */
export function buildRequest(bundle: Bundle, messages: readonly ChatMessage[]): string {
  const { spec } = bundle.agent;
  const endpoint = endpointOf(bundle);
  const tools = (spec.tools ?? [])
    .filter(({ name }) => decideTool(bundle, name).decision === "Allow")
    .map(({ name }) => toolOf(name)?.definition)
    .filter((definition) => definition !== undefined)
    .map((definition) => ({ type: "function" as const, function: definition }));
  const most = [spec.model.maxOutputTokens, endpoint.maxOutputTokens].filter((tokens) => tokens !== undefined);
  const request = {
    model: endpoint.model,
    messages,
    ...(tools.length > 0 ? { tools } : {}),
    ...(spec.model.temperature === undefined ? {} : { temperature: Number(spec.model.temperature) }),
    ...(spec.model.reasoningEffort === undefined ? {} : { reasoning_effort: spec.model.reasoningEffort }),
    ...(most.length > 0 ? { max_completion_tokens: Math.min(...most) } : {}),
    stream: true,
    stream_options: { include_usage: true },
  } satisfies RequestShape;
  return JSON.stringify(request);
}

/** The endpoint's parameters, but for the messages and tools, which are ours and read-only. */
type RequestShape = Omit<ChatCompletionCreateParamsStreaming, "messages" | "tools"> & { readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] };
