import { z } from "zod";

// Fields that several kinds share. Every description starts with the field's name and says unit, default and what absence means.

const DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DNS_SUBDOMAIN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/** Name of an entry in one of our lists: an RFC 1123 label. */
export const entryName = (description: string) => z.string().min(1).max(63).regex(new RegExp(DNS_LABEL)).describe(description);

/** Name of a Kubernetes object: an RFC 1123 subdomain. */
export const objectName = (description: string) => z.string().min(1).max(253).regex(new RegExp(DNS_SUBDOMAIN)).describe(description);

/** Reference to an object of the same namespace, by name. */
export const localRef = (description: string, target: string) =>
  z.object({ name: objectName(`name of ${target} in the same namespace; required.`) }).describe(description);

/** Reference to one key of a Secret of the same namespace. The value is only ever mounted, never read by the operator. */
export const secretKeyRef = (description: string) =>
  z
    .object({
      name: objectName("name of the Secret in the same namespace; required."),
      key: z.string().min(1).max(253).regex(/^[-._a-zA-Z0-9]+$/).describe("key inside the Secret's data; required."),
    })
    .describe(description);

/** Kubernetes' own quantity syntax; served as int-or-string so that `cpu: 1` works as in a Pod. */
const quantity = (description: string) =>
  z.string().max(32).meta({
    description,
    "x-kubernetes-int-or-string": true,
    "x-kubernetes-validations": [{ rule: "isQuantity(string(self))", message: "write a Kubernetes quantity such as 500m, 1 or 256Mi" }],
  });

const amounts = (description: string, defaults: string) =>
  z
    .object({
      cpu: quantity(`cpu in cores or millicores, e.g. 500m; default ${defaults}.`).optional(),
      memory: quantity(`memory in bytes, e.g. 512Mi; default ${defaults}.`).optional(),
      "ephemeral-storage": quantity(`ephemeral-storage in bytes, e.g. 1Gi; default ${defaults}.`).optional(),
    })
    .describe(description);

/** Requests and limits of a pod's one container. Limits are always set: what is absent takes the release's default. */
export const resources = (description: string) =>
  z
    .object({
      requests: amounts("requests that the scheduler reserves; absent members take the release's defaults.", "is the release's").optional(),
      limits: amounts("limits the container may not exceed; absent members take the release's defaults.", "is the release's").optional(),
    })
    .describe(description);

/** Turn and time limits; every kind words its own absence. */
export const maxTurns = (absence: string) =>
  z.int().min(1).max(10000).describe(`maxTurns is the number of model answers a session may use, counted per input; ${absence}`);
export const timeoutSeconds = (absence: string) =>
  z.int().min(1).max(604800).describe(`timeoutSeconds is the time in seconds a session may take from its start; ${absence}`);

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
}

export const labelSelector = (description: string) =>
  z
    .object({
      matchLabels: z
        .record(z.string().max(317), z.string().max(63))
        .meta({
          description: "matchLabels that an object must all carry; empty selects everything.",
          maxProperties: 16,
        })
        .optional(),
    })
    .describe(description);
