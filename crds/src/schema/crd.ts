import { z } from "zod";
import { agentSpecSchema, agentStatusSchema } from "../agent.ts";
import { approvalSpecSchema, approvalStatusSchema } from "../approval.ts";
import { environmentSpecSchema, environmentStatusSchema } from "../environment.ts";
import { GROUP, KINDS, VERSION } from "../group.ts";
import type { KindName, KindNames } from "../group.ts";
import { scheduleSpecSchema, scheduleStatusSchema } from "../schedule.ts";
import { SESSION_MUTABLE_FIELDS, sessionSpecSchema, sessionStatusSchema } from "../session.ts";
import { buildStructural } from "./structural.ts";
import type { StructuralSchema, ValidationRule } from "./structural.ts";

/** A column of `kubectl get`; priority 1 is shown with `-o wide` only. */
interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly jsonPath: string;
  readonly priority?: 1;
}

/** What a kind's CRD says besides its names. */
interface KindDefinition {
  readonly description: string;
  readonly spec: z.ZodType;
  readonly status: z.ZodObject;
  readonly columns: readonly Column[];
  readonly selectableFields?: readonly string[];
  /** Fields of spec that may change after creation; absent means all of them. */
  readonly mutableFields?: readonly string[];
  readonly specRules?: readonly ValidationRule[];
}

/** `apiextensions.k8s.io/v1` CustomResourceDefinition, as far as Paddock uses it. */
export interface CustomResourceDefinition {
  readonly apiVersion: "apiextensions.k8s.io/v1";
  readonly kind: "CustomResourceDefinition";
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: "Namespaced";
    readonly names: KindNames & { readonly listKind: string; readonly categories: readonly string[] };
    readonly versions: readonly [
      {
        readonly name: string;
        readonly served: true;
        readonly storage: true;
        readonly subresources: { readonly status: Record<string, never> };
        readonly additionalPrinterColumns: readonly Column[];
        readonly selectableFields?: readonly { readonly jsonPath: string }[];
        readonly schema: { readonly openAPIV3Schema: StructuralSchema };
      },
    ];
  };
}

const condition = (type: string, member: "status" | "reason") => `.status.conditions[?(@.type=="${type}")].${member}`;
const age: Column = { name: "AGE", type: "date", jsonPath: ".metadata.creationTimestamp" };
const readiness: readonly Column[] = [
  { name: "READY", type: "string", jsonPath: condition("Ready", "status") },
  { name: "REASON", type: "string", jsonPath: condition("Ready", "reason") },
];

const DEFINITIONS: Readonly<Record<KindName, KindDefinition>> = {
  Agent: {
    description: "Agent is a harness: model choice, instructions and tools. It says what an agent does, never where or with whose rights.",
    spec: agentSpecSchema,
    status: agentStatusSchema,
    columns: [
      { name: "MODEL", type: "string", jsonPath: ".spec.model.name" },
      { name: "TOOLS", type: "integer", jsonPath: ".status.tools" },
      ...readiness,
      age,
    ],
  },
  Environment: {
    description: "Environment is a runtime: model endpoints, runner and sandbox, network, permissions and limits that sessions run with.",
    spec: environmentSpecSchema,
    status: environmentStatusSchema,
    columns: [...readiness, { name: "MODELS", type: "integer", jsonPath: ".status.models" }, age],
  },
  Session: {
    description: "Session is one run of an Agent in an Environment.",
    spec: sessionSpecSchema,
    status: sessionStatusSchema,
    columns: [
      { name: "AGENT", type: "string", jsonPath: ".spec.agentRef.name" },
      { name: "STATUS", type: "string", jsonPath: condition("Succeeded", "reason") },
      { name: "TURNS", type: "integer", jsonPath: ".status.turns" },
      { name: "TOKENS", type: "integer", jsonPath: ".status.usage.totalTokens" },
      { name: "COST", type: "string", jsonPath: ".status.usage.costUSD" },
      age,
      { name: "ENVIRONMENT", type: "string", jsonPath: ".spec.environmentRef.name", priority: 1 },
      { name: "RUNNER", type: "string", jsonPath: ".status.runner.podName", priority: 1 },
      { name: "TRACE", type: "string", jsonPath: ".status.trace.id", priority: 1 },
    ],
    selectableFields: [".spec.agentRef.name", ".spec.environmentRef.name"],
    mutableFields: SESSION_MUTABLE_FIELDS,
    specRules: [
      {
        rule: "!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
        message: "cancel cannot be undone: create a new Session",
        fieldPath: ".cancel",
      },
    ],
  },
  Schedule: {
    description: "Schedule creates Sessions from a template at times given by a cron expression.",
    spec: scheduleSpecSchema,
    status: scheduleStatusSchema,
    columns: [
      { name: "SCHEDULE", type: "string", jsonPath: ".spec.schedule" },
      { name: "TIMEZONE", type: "string", jsonPath: ".spec.timeZone" },
      { name: "SUSPEND", type: "boolean", jsonPath: ".spec.suspend" },
      { name: "ACTIVE", type: "integer", jsonPath: ".status.active" },
      { name: "LAST", type: "date", jsonPath: ".status.lastScheduleTime" },
      // Not a date: kubectl prints a date as the time since, which is invalid for one that is to come.
      { name: "NEXT", type: "string", jsonPath: ".status.nextScheduleTime" },
      age,
    ],
  },
  Approval: {
    description: "Approval is one tool call that waits for a person's decision.",
    spec: approvalSpecSchema,
    status: approvalStatusSchema,
    columns: [
      { name: "SESSION", type: "string", jsonPath: ".spec.sessionRef.name" },
      { name: "TOOL", type: "string", jsonPath: ".spec.tool" },
      { name: "SUMMARY", type: "string", jsonPath: ".spec.argumentsSummary" },
      { name: "DECISION", type: "string", jsonPath: condition("Resolved", "reason") },
      { name: "BY", type: "string", jsonPath: ".status.decision.decidedBy" },
      // Not a date: kubectl prints a date as the time since, which is invalid for one that is to come.
      { name: "EXPIRES", type: "string", jsonPath: ".spec.expiresAt" },
    ],
  },
};

/** `metav1.Condition`, with the bounds of apimachinery. */
const conditionSchema = z
  .object({
    type: z.string().max(316).regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$/).describe("type of the condition; required."),
    status: z.enum(["True", "False", "Unknown"]).describe("status of the condition; required."),
    reason: z.string().min(1).max(1024).regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/).describe("reason in one word for programs; required."),
    message: z.string().max(32768).describe("message for people: the object meant and what helps; required, may be empty."),
    observedGeneration: z.int().min(0).describe("observedGeneration is the metadata.generation the condition was set by; absent means unknown.").optional(),
    lastTransitionTime: z.string().max(64).meta({ description: "lastTransitionTime is when status last changed, RFC 3339; required.", format: "date-time" }),
  })
  .describe("conditions entry: one fact about the object.");

const baseStatus = {
  // The default makes a fresh object "in progress" for kstatus: its generation was not observed yet.
  observedGeneration: z.int().min(-1).meta({ description: "observedGeneration is the metadata.generation that this status is about; default -1, none yet.", default: -1 }).optional(),
  conditions: z
    .array(conditionSchema)
    .max(16)
    .meta({ description: "conditions of the object; absent before the first look at it.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] })
    .optional(),
};

/** The CRD of a kind. Pure; throws an Error that names the path when a schema breaks a convention. */
export function buildCrd(kind: KindName): CustomResourceDefinition {
  const { columns, selectableFields } = DEFINITIONS[kind];
  const names = KINDS[kind];
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${names.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: { ...names, listKind: `${kind}List`, categories: ["paddock"] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          ...(selectableFields === undefined ? {} : { selectableFields: selectableFields.map((jsonPath) => ({ jsonPath })) }),
          schema: { openAPIV3Schema: buildSchema(kind) },
        },
      ],
    },
  };
}

function buildSchema(kind: KindName): StructuralSchema {
  const { description, spec, status, mutableFields, specRules = [] } = DEFINITIONS[kind];
  const specNode = buildStructural(spec, { path: `${kind}.spec`, author: "people" });
  const rules = [
    ...(specNode["x-kubernetes-validations"] ?? []),
    ...(mutableFields === undefined ? [] : [buildImmutability(specNode, mutableFields)]),
    ...specRules,
  ];
  const statusNode = buildStructural(status.extend(baseStatus).describe("status is what Paddock has seen and done; written by its controllers only."), {
    path: `${kind}.status`,
    author: "controllers",
  });
  return {
    description,
    type: "object",
    required: ["spec"],
    properties: {
      apiVersion: { description: `apiVersion is ${GROUP}/${VERSION}.`, type: "string" },
      kind: { description: `kind is ${kind}.`, type: "string" },
      // The API server knows what metadata is and refuses a description of it.
      metadata: { type: "object" },
      spec: { ...specNode, ...(rules.length === 0 ? {} : { "x-kubernetes-validations": rules }) },
      status: { ...statusNode, default: { observedGeneration: -1 } },
    },
  };
}

/**
 * One rule for the whole spec: whether a field is there and what it says may not change, but for `mutable` ones. A rule per field would
 * not do, because it does not run when an optional field is added or removed. The message names the fields that were changed.
 */
export function buildImmutability({ properties = {}, required = [] }: StructuralSchema, mutable: readonly string[]): ValidationRule {
  const same = Object.keys(properties)
    .filter((name) => !mutable.includes(name))
    .map((name) => ({ name, cel: required.includes(name) ? `self.${name} == oldSelf.${name}` : sameOptional(name) }));
  const changed = same.map(({ name, cel }) => `(${cel} ? '' : ' ${name}')`).join(" + ");
  return {
    rule: same.map(({ cel }) => `(${cel})`).join(" && "),
    message: "field is immutable; create a new Session",
    messageExpression: `'field is immutable; create a new Session instead of changing' + ${changed}`,
  };
}

function sameOptional(name: string): string {
  return `has(self.${name}) == has(oldSelf.${name}) && (!has(self.${name}) || self.${name} == oldSelf.${name})`;
}
