import { Script, createContext } from "node:vm";
import type { StructuralSchema } from "../structural.ts";

// CEL rules of schemas, as far as tests need them, without an API server: most of their words are JavaScript's.

/** Words of CEL that JavaScript spells in another way. */
const SPELLINGS: readonly (readonly [RegExp, string])[] = [
  [/\bhas\(([^()]*)\)/g, "($1 !== undefined)"],
  [/\.all\((\w+), /g, ".every(($1) => "],
  [/\.exists\((\w+), /g, ".some(($1) => "],
  [/([\w.]+(?:\(\))?) in (\[[^\]]*\])/g, "$2.includes($1)"],
];

const context = createContext({});
// Strings in there are of that realm.
new Script("Object.assign(String.prototype, { matches(pattern) { return new RegExp(pattern).test(this); }, lowerAscii() { return this.toLowerCase(); } })").runInContext(context);

/** Whether a rule holds for a value. Throws for words that it does not know. */
export function holds(rule: string, self: unknown): boolean {
  const script = SPELLINGS.reduce((text, [word, spelling]) => text.replaceAll(word, spelling), rule);
  return new Script(script).runInContext(Object.assign(context, { self })) === true;
}

const OTHERS_WORDS = /\b(isQuantity|quantity|isCIDR|cidr|oldSelf|self\.all)\b/;

/** Messages of the rules that a value breaks, with where it does; those about quantities and networks are left out. */
export function brokenRules(schema: StructuralSchema, value: unknown, path = "spec"): readonly string[] {
  if (value === undefined) return [];
  const own = (schema["x-kubernetes-validations"] ?? []).filter(({ rule }) => !OTHERS_WORDS.test(rule) && !holds(rule, value)).map(({ message = "" }) => `${path}: ${message}`);
  const members = Object.entries(schema.properties ?? {}).flatMap(([name, member]) => brokenRules(member, (value as Readonly<Record<string, unknown>>)[name], `${path}.${name}`));
  const { items } = schema;
  const elements = items === undefined ? [] : (value as readonly unknown[]).flatMap((element, index) => brokenRules(items, element, `${path}[${index}]`));
  return [...own, ...members, ...elements];
}
