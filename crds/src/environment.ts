import { z } from "zod";
import { USD_PATTERN } from "./log/money.ts";
import { LABEL_KEY, LABEL_KEY_HINT, entryName, costUSD, labelMap, labelValue, maxTurns, objectName, quantity, resources, secretKeyRef, timeoutSeconds, totalTokens, usdAmount } from "./refs.ts";
import { freeText, matching } from "./text.ts";
import type { BaseStatus, Resource } from "./object.ts";
import { CREDENTIAL_HOSTS_ARE_ALLOWED, credentialsSchema, networkSchema } from "./network.ts";
import { TOOL_NAMES } from "./policy/tools.ts";

const PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
const BASE_URL = `^https?://([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:${PORT})?(/[^\\s?#]*)?$`;
const IMAGE = "^([A-Za-z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$";

const price = (what: string, absence: string) =>
  matching(USD_PATTERN, 16, {
    description: `${what} in USD per million tokens as a decimal string such as "1.25"; ${absence}`,
    hint: 'write USD as a decimal string such as "1.25": at most six digits before the point and nine after, no sign, exponent or currency',
  });

const model = z
  .object({
    name: entryName("name by which Agents ask for the model; required."),
    model: freeText("model id at the endpoint, e.g. gpt-5.2; required.", 256, 1),
    baseURL: matching(BASE_URL, 2048, {
      description: "baseURL of an OpenAI-compatible endpoint, with scheme and path and without credentials or query, e.g. https://api.openai.com/v1; required.",
      hint: "write scheme, host, a port up to 65535 if need be, and path, such as https://api.openai.com/v1, without credentials, query or fragment",
    }),
    apiKey: z
      .object({ secretKeyRef: secretKeyRef("secretKeyRef names the Secret key that holds the API key; required.") })
      .describe("apiKey for the endpoint by reference; absent means the endpoint needs none.")
      .optional(),
    maxOutputTokens: z.int().min(1).max(1000000).describe("maxOutputTokens of one answer, in tokens; absent leaves it to the endpoint.").optional(),
    pricing: z
      .object({
        inputPerMillion: price("inputPerMillion is the price of input", "required."),
        cachedInputPerMillion: price("cachedInputPerMillion is the price of cached input", "absent means the price of input.").optional(),
        outputPerMillion: price("outputPerMillion is the price of output", "required."),
      })
      .describe("pricing of the model; absent means that cost is unknown and not shown.")
      .optional(),
  })
  .describe("models entry: one model endpoint.");

// What Kubernetes asks of a toleration, which would otherwise refuse the pods.
const TOLERATION_RULES = [
  { rule: "has(self.key) || (has(self.operator) && self.operator == 'Exists')", message: "write the key of the taint, or operator: Exists, which without a key bears every taint" },
  { rule: "!(has(self.operator) && self.operator == 'Exists') || !has(self.value) || self.value == ''", message: "operator Exists takes no value: leave value out, or write operator: Equal" },
  { rule: "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')", message: "tolerationSeconds goes with effect NoExecute only: write effect: NoExecute, or leave tolerationSeconds out" },
];

const toleration = z
  .object({
    key: matching(LABEL_KEY, 317, { description: "key of the taint; absent means every key, with operator Exists.", hint: LABEL_KEY_HINT }).optional(),
    operator: z.enum(["Equal", "Exists"]).describe("operator between key and value; absent means Equal.").optional(),
    value: labelValue.describe("value of the taint; absent means the empty one.").optional(),
    effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]).describe("effect of the taint; absent means every effect.").optional(),
    tolerationSeconds: z.int().min(0).max(604800).describe("tolerationSeconds is how long in seconds a NoExecute taint is borne; absent means for ever.").optional(),
  })
  .meta({ description: "tolerations entry: one taint that the pods bear.", "x-kubernetes-validations": TOLERATION_RULES });

// The kubelet counts a workspace that is no volume of its own against the container's limit, and evicts a pod that reaches it.
const STORAGE_LIMIT = "self.resources.limits.ephemeral__dash__storage";
const HAS_STORAGE_LIMIT = `has(self.resources) && has(self.resources.limits) && has(${STORAGE_LIMIT})`;
const WORKSPACE_SIZE = "(has(self.workspace) && has(self.workspace.size) ? string(self.workspace.size) : '1Gi')";
const IS_VOLUME = "has(self.workspace) && has(self.workspace.persistence) && self.workspace.persistence == 'Session'";
const WORKSPACE_FITS = {
  rule: `(${IS_VOLUME}) || !(${HAS_STORAGE_LIMIT}) || !(isQuantity(string(${STORAGE_LIMIT})) && isQuantity(${WORKSPACE_SIZE})) || quantity(${WORKSPACE_SIZE}).compareTo(quantity(string(${STORAGE_LIMIT}))) <= 0`,
  message: "workspace.size (1Gi when absent) is more than resources.limits.ephemeral-storage, which counts it: lower the size, or raise the limit or leave it out",
};

const NO_SYSTEM_CLASS = { rule: "!self.startsWith('system-')", message: "use a PriorityClass of your own: those that start with system- belong to the cluster" };

export const environmentSpecSchema = z
  .object({
    models: z
      .array(model)
      .min(1)
      .max(8)
      .meta({ description: "models that Agents may name, 1 to 8; required.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
    runner: z
      .object({ resources: resources("resources of a runner pod; absent means the release's defaults.").optional() })
      .describe("runner is the pod that talks to the model; absent means the release's defaults.")
      .optional(),
    sandbox: z
      .object({
        image: matching(IMAGE, 512, {
          description: "image of sandbox pods, built from the release's sandbox image; absent means that image itself.",
          hint: "write an image reference such as ghcr.io/paddock/sandbox:0.1.0 or one with @sha256: and its digest",
        }).optional(),
        provisioning: z
          .enum(["OnDemand", "Eager", "Never"])
          .describe("provisioning of the sandbox: OnDemand makes it when a tool first needs it, Eager with the runner, Never refuses such tools; absent means OnDemand.")
          .optional(),
        runtimeClassName: objectName("runtimeClassName of sandbox pods, e.g. gvisor; absent means the cluster's default.").optional(),
        userNamespaces: z.boolean().describe("userNamespaces gives sandbox pods a user namespace of their own (hostUsers: false); absent means false.").optional(),
        resources: resources("resources of a sandbox pod; absent means the release's defaults.").optional(),
        workspace: z
          .object({
            size: quantity("size of /workspace in bytes, e.g. 2Gi; absent means 1Gi.").optional(),
            persistence: z
              .enum(["Ephemeral", "Session"])
              .describe("persistence of the workspace: Ephemeral ends with the pod, Session is a volume that the session's sandboxes have one after the other; absent means Ephemeral.")
              .optional(),
            storageClassName: objectName("storageClassName of the volume, with persistence: Session; absent means the cluster's default.").optional(),
          })
          .meta({
            description: "workspace is the directory that commands work in; absent means 1Gi that ends with the pod.",
            "x-kubernetes-validations": [
              { rule: "!has(self.storageClassName) || (has(self.persistence) && self.persistence == 'Session')", message: "storageClassName goes with persistence: Session: write that, or leave storageClassName out" },
            ],
          })
          .optional(),
      })
      .meta({ description: "sandbox is the pod where model-written commands run; absent means the release's defaults.", "x-kubernetes-validations": [WORKSPACE_FITS] })
      .optional(),
    network: networkSchema.optional(),
    credentials: credentialsSchema.optional(),
    permissions: z
      .array(
        z
          .object({
            tool: z.enum(TOOL_NAMES).describe("tool the entry is about; required."),
            decision: z.enum(["Allow", "Ask", "Deny"]).describe("decision for calls of the tool; Ask and Deny hold whatever the Agent allows; required."),
          })
          .describe("permissions entry: the floor for one tool."),
      )
      .max(32)
      .meta({
        description: "permissions are a floor that Agents can only make stricter; absent means Allow for every tool.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["tool"],
      })
      .optional(),
    limits: z
      .object({
        maxTurns: maxTurns("absent means 100.").optional(),
        timeoutSeconds: timeoutSeconds("absent means 3600.").optional(),
        costUSD: costUSD("absent means no limit.").optional(),
        totalTokens: totalTokens("absent means no limit.").optional(),
      })
      .describe("limits are ceilings and defaults of each session; absent means the defaults of its members.")
      .optional(),
    budget: z
      .object({
        costUSDPerDay: usdAmount('costUSDPerDay is the money in USD that all sessions may spend in one UTC day, as a decimal string such as "50.00"; absent means no limit.').optional(),
        maxConcurrentSessions: z.int().min(1).max(100000).describe("maxConcurrentSessions is how many sessions of the Environment run at the same time, the others are Queued; absent means no limit.").optional(),
      })
      .describe("budget that all sessions of the Environment share, as it is now; absent means none.")
      .optional(),
    approvals: z
      .object({
        allowRequester: z.boolean().describe("allowRequester lets those who wrote a session's messages approve its calls; absent means false.").optional(),
        allowServiceAccounts: z.boolean().describe("allowServiceAccounts lets service accounts approve; absent means false.").optional(),
        timeoutSeconds: z.int().min(1).max(2592000).describe("timeoutSeconds is how long in seconds a call waits for a decision, after which it is denied; absent means 86400.").optional(),
      })
      .describe("approvals say who may decide on calls with permission Ask, and how long they wait; absent means the defaults of its members.")
      .optional(),
    allowedAgents: z
      .array(objectName("allowedAgents entry: name of an Agent of the same namespace."))
      .max(128)
      .meta({ description: "allowedAgents may run in the Environment; absent means every Agent of the namespace, an empty list none.", "x-kubernetes-list-type": "set" })
      .optional(),
    imagePullSecrets: z
      .array(z.object({ name: objectName("name of a Secret of the same namespace with registry credentials; required.") }).describe("imagePullSecrets entry: one Secret."))
      .max(4)
      .meta({ description: "imagePullSecrets of sandbox and runner pods; absent means none.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] })
      .optional(),
    scheduling: z
      .object({
        nodeSelector: labelMap("nodeSelector that a node must carry; absent means any node.", 16, labelValue).optional(),
        tolerations: z
          .array(toleration)
          .max(16)
          .meta({ description: "tolerations for taints of nodes; absent means none.", "x-kubernetes-list-type": "atomic" })
          .optional(),
        priorityClassName: objectName("priorityClassName of the pods; absent means the cluster's default.")
          .meta({ description: "priorityClassName of the pods, not a system one; absent means the cluster's default.", "x-kubernetes-validations": [NO_SYSTEM_CLASS] })
          .optional(),
      })
      .describe("scheduling of runner and sandbox pods; absent means that of the cluster.")
      .optional(),
    telemetry: z
      .object({
        traceURLTemplate: matching("^https?://[^\\s{}]*\\{traceId\\}[^\\s{}]*$", 1024, {
          description: "traceURLTemplate makes status.trace.url of each session, with {traceId} in its place; absent means no link.",
          hint: "write an address with {traceId} where the trace id belongs, e.g. https://jaeger.example.com/trace/{traceId}",
        }).optional(),
        content: z.enum(["Omitted", "Recorded"]).describe("content is whether traces hold messages, arguments and results; absent means Omitted.").optional(),
      })
      .describe("telemetry of sessions; absent means no links to traces.")
      .optional(),
  })
  .meta({
    description: "spec is the runtime: where and with what rights sessions run. It holds no prompt and no tool.",
    "x-kubernetes-validations": [CREDENTIAL_HOSTS_ARE_ALLOWED],
  });

/** Where `{traceId}` stands in telemetry.traceURLTemplate. */
export const TRACE_ID_PLACEHOLDER = "{traceId}";

export type EnvironmentSpec = z.infer<typeof environmentSpecSchema>;
export type ModelEndpoint = EnvironmentSpec["models"][number];

/** Status fields besides conditions and observedGeneration. */
export const environmentStatusSchema = z.object({
  revision: z.string().max(80).describe("revision is the digest of the spec, as sessions record it; absent before the first look at the object.").optional(),
  models: z.int().min(0).describe("models is the number of spec.models, for the MODELS column; absent before the first look at the object.").optional(),
});

export type EnvironmentStatus = BaseStatus & Readonly<z.infer<typeof environmentStatusSchema>>;

export type Environment = Resource<EnvironmentSpec, EnvironmentStatus>;

/** What a session may use when nothing says otherwise. */
export const DEFAULT_LIMITS = { maxTurns: 100, timeoutSeconds: 3600 } as const;

/** How long a call waits for a decision when its Environment does not say. */
export const DEFAULT_APPROVAL_SECONDS = 86_400;
