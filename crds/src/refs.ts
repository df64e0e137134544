import { z } from "zod";
import { USD_PATTERN } from "./log/money.ts";
import { HINT, celString, matching } from "./text.ts";

// Fields that several kinds share. Every description starts with the field's name and says unit, default and what absence means.

const DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DNS_SUBDOMAIN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL_VALUE = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/** Key of a label, an annotation or a taint: a name of at most 63 characters, after a DNS subdomain and a slash if there is one. */
export const LABEL_KEY = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
export const LABEL_KEY_HINT = "write keys such as app or app.kubernetes.io/name";

/** Name of an entry in one of our lists: an RFC 1123 label. */
export const entryName = (description: string) =>
  matching(DNS_LABEL, 63, { description, hint: "write a name of lower-case letters, digits and '-' that starts and ends with a letter or digit" });

/** Name of a Kubernetes object: an RFC 1123 subdomain. */
export const objectName = (description: string) =>
  matching(DNS_SUBDOMAIN, 253, { description, hint: "write an object's name: lower-case letters, digits, '-' and '.', with a letter or digit at both ends" });

/** Reference to an object of the same namespace, by name. */
export const localRef = (description: string, target: string) =>
  z.object({ name: objectName(`name of ${target} in the same namespace; required.`) }).describe(description);

/** Reference to one key of a Secret of the same namespace. The value is only ever mounted, never read by the operator. */
export const secretKeyRef = (description: string) =>
  z
    .object({
      name: objectName("name of the Secret in the same namespace; required."),
      key: matching("^[-._a-zA-Z0-9]+$", 253, {
        description: "key inside the Secret's data; required.",
        hint: "write a key of a Secret: letters, digits, '-', '_' and '.'",
      }),
    })
    .describe(description);

/** Reference to one key of a ConfigMap of the same namespace. The text is read once, when a session is bound, and frozen with it. */
export const configMapKeyRef = (description: string) =>
  z
    .object({
      name: objectName("name of the ConfigMap in the same namespace; required."),
      key: matching("^[-._a-zA-Z0-9]+$", 253, {
        description: "key inside the ConfigMap's data; required.",
        hint: "write a key of a ConfigMap: letters, digits, '-', '_' and '.'",
      }),
    })
    .describe(description);
export type ConfigMapKeyRef = z.infer<ReturnType<typeof configMapKeyRef>>;

/** One CEL rule that takes exactly one of two sibling fields. */
export const exactlyOne = (first: string, second: string) => ({
  rule: `has(self.${first}) != has(self.${second})`,
  message: `write exactly one of ${first} and ${second}`,
});

/** Kubernetes' own quantity syntax; served as int-or-string so that `cpu: 1` works as in a Pod. */
export const quantity = (description: string) =>
  z.union([z.string().max(32), z.int()]).meta({
    description,
    "x-kubernetes-int-or-string": true,
    "x-kubernetes-validations": [
      { rule: "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))", message: "write a Kubernetes quantity above zero such as 500m, 1 or 256Mi" },
    ],
  });

const amounts = (description: string) =>
  z
    .object({
      cpu: quantity("cpu in cores or millicores, e.g. 500m; absent means the release's default.").optional(),
      memory: quantity("memory in bytes, e.g. 512Mi; absent means the release's default.").optional(),
      "ephemeral-storage": quantity("ephemeral-storage in bytes, e.g. 1Gi; absent means the release's default.").optional(),
    })
    .describe(description);

// CEL spells a dash in a member's name `__dash__`.
const requestsFit = (["cpu", "memory", "ephemeral-storage"] as const).map((name) => {
  const member = name.replaceAll("-", "__dash__");
  const [request, limit] = [`self.requests.${member}`, `self.limits.${member}`];
  const both = `has(self.requests) && has(${request}) && has(self.limits) && has(${limit})`;
  const isReadable = `isQuantity(string(${request})) && isQuantity(string(${limit}))`;
  return {
    rule: `!(${both}) || !(${isReadable}) || quantity(string(${request})).compareTo(quantity(string(${limit}))) <= 0`,
    message: `requests.${name} is more than limits.${name}: lower the request or raise the limit`,
  };
});

/** Requests and limits of a pod's one container. Limits are always set: what is absent takes the release's default. */
export const resources = (description: string) =>
  z
    .object({
      requests: amounts("requests that the scheduler reserves; absent members take the release's defaults.").optional(),
      limits: amounts("limits the container may not exceed; absent members take the release's defaults.").optional(),
    })
    .meta({ description, "x-kubernetes-validations": requestsFit });

/** Turn and time limits; every kind words its own absence. */
export const maxTurns = (absence: string) =>
  z.int().min(1).max(10000).describe(`maxTurns is the number of model answers a session may use, counted per input; ${absence}`);
export const timeoutSeconds = (absence: string) =>
  z.int().min(1).max(604800).describe(`timeoutSeconds is the time in seconds a session may take from its start; ${absence}`);

/** An amount of money above zero. */
export const usdAmount = (description: string) =>
  matching(USD_PATTERN, 16, {
    description,
    hint: 'write USD as a decimal string such as "2.00": at most six digits before the point and nine after, no sign, exponent or currency',
  }).meta({ "x-kubernetes-validations": [{ rule: "self.matches('[1-9]')", message: 'write an amount above zero such as "2.00", or leave the field out for no limit' }] });
export const costUSD = (absence: string) => usdAmount(`costUSD is the money in USD that a session may spend, as a decimal string such as "2.00"; ${absence}`);
export const totalTokens = (absence: string) =>
  z.int().min(1).max(1_000_000_000_000).describe(`totalTokens is the number of tokens, input and output, that a session may use; ${absence}`);

/** Labels or annotations of at most `max`: keys as Kubernetes writes them. */
export const labelMap = (description: string, max: number, value: z.ZodString) =>
  z.record(z.string().max(317).regex(new RegExp(LABEL_KEY)), value.describe("value of a label or annotation")).meta({
    description,
    maxProperties: max,
    // A CRD has no schema for the keys of a map.
    "x-kubernetes-validations": [
      { rule: `self.all(key, size(key) <= 317 && key.matches(${celString(LABEL_KEY)}))`, message: LABEL_KEY_HINT },
    ],
  });

/** Value of a label. */
export const labelValue = z
  .string()
  .max(63)
  .regex(new RegExp(LABEL_VALUE))
  .meta({ [HINT]: "write a label's value: letters, digits, '-', '_' and '.', with a letter or digit at both ends, or an empty one" });

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
}

export const labelSelector = (description: string) =>
  z
    .object({
      matchLabels: labelMap("matchLabels that an object must all carry; absent or empty selects everything.", 16, labelValue).optional(),
    })
    .describe(description);
