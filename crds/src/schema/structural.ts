import { z } from "zod";
import { celString, HINT, TOO_LONG } from "../text.ts";

/** One CEL rule of `x-kubernetes-validations`. */
export interface ValidationRule {
  readonly rule: string;
  readonly message?: string;
  /** CEL that gives the message; `message` stands in when it fails. */
  readonly messageExpression?: string;
  readonly fieldPath?: string;
}

/** A structural schema as a CRD holds it: every node has one type, nothing is a union or a reference. */
export interface StructuralSchema {
  readonly description?: string;
  readonly type?: "object" | "array" | "string" | "integer" | "boolean";
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema;
  readonly items?: StructuralSchema;
  readonly "x-kubernetes-int-or-string"?: true;
  readonly "x-kubernetes-preserve-unknown-fields"?: true;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-validations"?: readonly ValidationRule[];
}

/** People's integers need a bound of ours; counters that controllers write may be as large as an integer gets. */
export type Author = "people" | "controllers";

type Node = Readonly<Record<string, unknown>>;
interface Place {
  readonly path: string;
  readonly author: Author;
}

const SAFE = Number.MAX_SAFE_INTEGER;
const LOOK_AROUND = /\(\?[=!<]|\\[1-9]/;
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  array: ["items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"],
  string: ["minLength", "maxLength", "pattern", "enum", "format", HINT, TOO_LONG],
  integer: ["minimum", "maximum"],
  boolean: [],
};
const ANYWHERE = ["type", "description", "default", "x-kubernetes-validations"];

/**
 * A zod schema as a structural schema. Throws an Error that names the path for whatever a CRD cannot hold or our conventions forbid:
 * unions, references, tuples, untyped or closed objects, look-around in patterns, floats, and missing descriptions, bounds or list types.
 */
export function buildStructural(schema: z.ZodType, place: Place): StructuralSchema {
  return convert({ ...z.toJSONSchema(schema, { target: "openapi-3.0", io: "input" }) }, place);
}

function convert(node: Node, place: Place): StructuralSchema {
  if (typeof node.description !== "string") throw fault(place, "has no description");
  if (node["x-kubernetes-int-or-string"] === true) return convertIntOrString(node);
  if (node["x-kubernetes-preserve-unknown-fields"] === true) return { type: "object", ...pick(node, ["description", "x-kubernetes-preserve-unknown-fields"]) };
  const { type } = node;
  if (typeof type !== "string") throw fault(place, "has no single type: unions, references and untyped values have no place in a CRD");
  const allowed = KEYWORDS[type];
  if (allowed === undefined) throw fault(place, type === "number" ? "is a float: write an integer or a decimal string" : `has the type ${type}`);
  const foreign = Object.keys(node).find((key) => !allowed.includes(key) && !ANYWHERE.includes(key));
  if (foreign !== undefined) throw fault(place, `has ${foreign}, which a CRD's ${type} cannot hold`);
  const rules = rulesOf(node);
  return {
    description: node.description,
    ...converters[type as keyof typeof converters](node, place),
    ...(node.default === undefined ? {} : { default: node.default }),
    ...(rules.length === 0 ? {} : { "x-kubernetes-validations": rules }),
  };
}

const converters = { object: convertObject, array: convertArray, string: convertString, integer: convertInteger, boolean: (): StructuralSchema => ({ type: "boolean" }) };

function convertIntOrString(node: Node): StructuralSchema {
  // No `type`: the API server takes both by the extension alone.
  return { ...pick(node, ["description", "x-kubernetes-int-or-string", "x-kubernetes-validations"]) };
}

function convertObject(node: Node, place: Place): StructuralSchema {
  const { properties, additionalProperties } = node as { properties?: Record<string, Node>; additionalProperties?: Node | boolean };
  if (properties === undefined) {
    if (typeof additionalProperties !== "object") throw fault(place, "is an object without members");
    need(node, place, "maxProperties");
    return { type: "object", ...pick(node, ["minProperties", "maxProperties"]), additionalProperties: convert(additionalProperties, within(place, "*")) };
  }
  if (additionalProperties !== undefined) throw fault(place, "has additionalProperties beside properties: unknown fields are refused by pruning and strict validation");
  const members = Object.entries(properties).map(([name, member]) => [name, convert(member, within(place, name))] as const);
  return { type: "object", ...pick(node, ["required", "minProperties", "maxProperties"]), properties: Object.fromEntries(members) };
}

function convertArray(node: Node, place: Place): StructuralSchema {
  const { items } = node;
  if (typeof items !== "object" || items === null || Array.isArray(items)) throw fault(place, "is a tuple");
  need(node, place, "maxItems");
  need(node, place, "x-kubernetes-list-type");
  const element = convert(items as Node, within(place, "[]"));
  const keys = node["x-kubernetes-list-map-keys"];
  if (node["x-kubernetes-list-type"] === "map") {
    if (!Array.isArray(keys) || keys.some((key) => !element.required?.includes(key as string))) throw fault(place, "is a list map whose keys are not required");
  }
  return { type: "array", ...pick(node, ["minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"]), items: element };
}

function convertString(node: Node, place: Place): StructuralSchema {
  if (node.enum === undefined) need(node, place, "maxLength");
  const { pattern } = node;
  if (typeof pattern === "string" && LOOK_AROUND.test(pattern)) throw fault(place, "has a pattern with look-around or a back reference, which RE2 cannot hold");
  const own = { ...pick(node, ["enum", "format", "minLength", "maxLength"]), ...(node[TOO_LONG] === undefined ? {} : { maxLength: OUTER_LENGTH }) };
  if (typeof pattern !== "string" || node[HINT] !== undefined) return { type: "string", ...own };
  return { type: "string", ...own, pattern: plain(pattern) };
}

function convertInteger(node: Node, place: Place): StructuralSchema {
  const { minimum, maximum } = node;
  if (place.author === "people" && (maximum === undefined || maximum === SAFE || minimum === undefined || minimum === -SAFE)) {
    throw fault(place, "is an integer without bounds");
  }
  return {
    type: "integer",
    format: "int64",
    ...(minimum === -SAFE ? {} : pick(node, ["minimum"])),
    ...(maximum === SAFE ? {} : pick(node, ["maximum"])),
  };
}

/** More than client-side apply can carry twice, as it does. */
const OUTER_LENGTH = 262144;

/** Rules for the lengths of an object's texts: a rule on the text itself would print all of it. */
function lengthRules({ properties }: Node): readonly ValidationRule[] {
  return Object.entries((properties ?? {}) as Readonly<Record<string, Node>>).flatMap(([name, { maxLength, [TOO_LONG]: instead }]) =>
    typeof instead === "string" ? [{ rule: `!has(self.${name}) || size(self.${name}) <= ${String(maxLength)}`, message: instead, fieldPath: `.${name}` }] : [],
  );
}

/** The node's own rules, after those that its pattern or its texts' lengths become. */
function rulesOf(node: Node): readonly ValidationRule[] {
  const own = [...lengthRules(node), ...((node["x-kubernetes-validations"] ?? []) as readonly ValidationRule[])];
  const { pattern, [HINT]: hint } = node;
  if (typeof pattern !== "string" || typeof hint !== "string") return own;
  return [{ rule: `self.matches(${celString(plain(pattern))})`, message: hint }, ...own];
}

/** JavaScript escapes the slash in a pattern's source; nobody needs to read that. */
function plain(pattern: string): string {
  return pattern.replaceAll("\\/", "/");
}

function need(node: Node, place: Place, keyword: string): void {
  if (node[keyword] === undefined) throw fault(place, `has no ${keyword}`);
}

function pick(node: Node, keys: readonly (keyof StructuralSchema)[]): StructuralSchema {
  return Object.fromEntries(keys.filter((key) => node[key] !== undefined).map((key) => [key, node[key]]));
}

function within({ path, author }: Place, name: string): Place {
  return { path: name === "[]" ? `${path}[]` : `${path}.${name}`, author };
}

function fault({ path }: Place, text: string): Error {
  return new Error(`${path} ${text}`);
}
