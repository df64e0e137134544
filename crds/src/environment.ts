import { z } from "zod";
import { USD_PATTERN } from "./log/money.ts";
import { entryName, labelSelector, maxTurns, resources, secretKeyRef, timeoutSeconds } from "./refs.ts";
import type { BaseStatus, Resource } from "./object.ts";
import { TOOL_NAMES } from "./policy/tools.ts";

const price = (what: string, absence: string) =>
  z.string().max(16).regex(new RegExp(USD_PATTERN)).describe(`${what} in USD per million tokens as a decimal string such as "1.25"; ${absence}`);

const model = z
  .object({
    name: entryName("name by which Agents ask for the model; required."),
    model: z.string().min(1).max(256).describe("model id at the endpoint, e.g. gpt-5.2; required."),
    baseURL: z
      .string()
      .max(2048)
      .regex(/^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/)
      .describe("baseURL of an OpenAI-compatible endpoint, with scheme and path and without credentials or query, e.g. https://api.openai.com/v1; required."),
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

const inClusterPeer = z
  .object({
    namespaceSelector: labelSelector("namespaceSelector picks namespaces by label; absent means the Environment's own.").optional(),
    podSelector: labelSelector("podSelector picks pods by label; absent means every pod of the namespaces.").optional(),
    ports: z
      .array(z.int().min(1).max(65535).describe("ports entry: a TCP port of the pods, 1 to 65535."))
      .min(1)
      .max(16)
      .meta({ description: "ports of the pods (not of a Service in front of them), TCP; required.", "x-kubernetes-list-type": "set" }),
  })
  .describe("inCluster entry: pods that runners may connect to.");

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
        image: z
          .string()
          .min(1)
          .max(512)
          .regex(/^[^\s]+$/)
          .describe("image of sandbox pods, built from the release's sandbox image; absent means that image itself.")
          .optional(),
        provisioning: z
          .enum(["OnDemand", "Never"])
          .describe("provisioning of the sandbox: OnDemand makes it when a tool first needs it, Never refuses such tools; absent means OnDemand.")
          .optional(),
        runtimeClassName: entryName("runtimeClassName of sandbox pods, e.g. gvisor; absent means the cluster's default.").optional(),
        resources: resources("resources of a sandbox pod; absent means the release's defaults.").optional(),
        workspace: z
          .object({
            size: z.string().max(32).meta({
              description: "size of /workspace in bytes, e.g. 2Gi; absent means 1Gi.",
              "x-kubernetes-int-or-string": true,
              "x-kubernetes-validations": [{ rule: "isQuantity(string(self))", message: "write a Kubernetes quantity such as 2Gi" }],
            }).optional(),
          })
          .describe("workspace is the directory that commands work in; absent means 1Gi that ends with the pod.")
          .optional(),
      })
      .describe("sandbox is the pod where model-written commands run; absent means the release's defaults.")
      .optional(),
    network: z
      .object({
        inCluster: z
          .array(inClusterPeer)
          .max(16)
          .meta({ description: "inCluster peers that runners may connect to; absent means none.", "x-kubernetes-list-type": "atomic" })
          .optional(),
      })
      .describe("network that runners reach besides the gateway, cluster DNS and the public addresses of model endpoints; absent means nothing more.")
      .optional(),
    permissions: z
      .array(
        z
          .object({
            tool: z.enum(TOOL_NAMES).describe("tool the entry is about; required."),
            decision: z.enum(["Allow", "Deny"]).describe("decision for calls of the tool; Deny holds whatever the Agent says; required."),
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
      })
      .describe("limits are ceilings and defaults of each session; absent means the defaults of its members.")
      .optional(),
  })
  .describe("spec is the runtime: where and with what rights sessions run. It holds no prompt and no tool.");

export type EnvironmentSpec = z.infer<typeof environmentSpecSchema>;
export type ModelEndpoint = EnvironmentSpec["models"][number];

export interface EnvironmentStatus extends BaseStatus {
  /** Digest of the spec, as sessions record it. */
  readonly revision?: string;
  /** Number of models, for the MODELS column. */
  readonly models?: number;
}

export type Environment = Resource<EnvironmentSpec, EnvironmentStatus>;

/** What a session may use when nothing says otherwise. */
export const DEFAULT_LIMITS = { maxTurns: 100, timeoutSeconds: 3600 } as const;
