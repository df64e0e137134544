// Every name in our spans, in one table: the conventions for generative AI are not stable. The package @opentelemetry/semantic-conventions marks them as
// moved to a repository that publishes nothing for JavaScript, and is large in memory; so they are written out here, and a test compares them with it.

/** The operations of the conventions; they begin the spans' names. */
export const OPERATION = { run: "invoke_agent", model: "chat", tool: "execute_tool" } as const;

export const NAME = {
  service: "service.name",
  namespace: "k8s.namespace.name",
  session: "session.id",
  conversation: "gen_ai.conversation.id",
  operation: "gen_ai.operation.name",
  agent: "gen_ai.agent.name",
  agentId: "gen_ai.agent.id",
  provider: "gen_ai.provider.name",
  model: "gen_ai.request.model",
  maxTokens: "gen_ai.request.max_tokens",
  finishReasons: "gen_ai.response.finish_reasons",
  inputTokens: "gen_ai.usage.input_tokens",
  cachedTokens: "gen_ai.usage.cache_read.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  tool: "gen_ai.tool.name",
  toolType: "gen_ai.tool.type",
  toolCall: "gen_ai.tool.call.id",
  error: "error.type",
  httpStatus: "http.response.status_code",
  serverAddress: "server.address",
  serverPort: "server.port",
  // Content and people: only where the Environment allows it.
  inputMessages: "gen_ai.input.messages",
  outputMessages: "gen_ai.output.messages",
  arguments: "gen_ai.tool.call.arguments",
  result: "gen_ai.tool.call.result",
  user: "user.name",
  reason: "paddock.approval.reason",
  // What no convention names.
  sessionUid: "paddock.session.uid",
  sessionName: "paddock.session.name",
  environment: "paddock.environment.name",
  outcome: "paddock.run.outcome",
  turn: "paddock.turn",
  attempt: "paddock.attempt",
  attempts: "paddock.tool.attempts",
  status: "paddock.tool.status",
  decision: "paddock.approval.decision",
  scope: "paddock.approval.scope",
  cost: "paddock.cost.usd",
} as const;

/** Names that hold what people and models wrote, or who they are. */
export const CONTENT_NAMES: readonly string[] = [NAME.inputMessages, NAME.outputMessages, NAME.arguments, NAME.result, NAME.user, NAME.reason];

/** Who answers at well-known endpoints, by the end of the host's name. */
const PROVIDERS: Readonly<Record<string, string>> = {
  "openai.azure.com": "azure.ai.openai",
  "api.anthropic.com": "anthropic",
  "generativelanguage.googleapis.com": "gcp.gemini",
  "aiplatform.googleapis.com": "gcp.vertex_ai",
  "api.mistral.ai": "mistral_ai",
  "api.groq.com": "groq",
  "api.deepseek.com": "deepseek",
  "api.x.ai": "x_ai",
};

/** The conventions' word for the provider at a host: as their own instrumentations do, that of the protocol where it is not known. */
export function providerOf(host: string): string {
  return Object.entries(PROVIDERS).find(([end]) => host === end || host.endsWith(`.${end}`))?.[1] ?? "openai";
}
