import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { normalizeResponse, validateFixtures } from "@copilotkit/aimock";
import type { Fixture, FixtureOpts, FixtureResponse } from "@copilotkit/aimock";

/** One answer of a script. */
export interface Turn {
  /** In aimock's runtime shape; its texts may hold placeholders. */
  readonly response: FixtureResponse;
  /** What the results of the last turn's tools must match. */
  readonly expect?: RegExp;
  readonly options: FixtureOpts;
}

/** The answers to conversations whose user messages hold `prompt`. */
export interface Script {
  readonly prompt: string;
  readonly turns: readonly Turn[];
}

const RESPONSE_FIELDS = ["content", "toolCalls", "usage", "finishReason", "reasoning", "error", "status", "retryAfter"];
const OPTION_FIELDS = ["latency", "chunkSize", "truncateAfterChunks", "disconnectAfterMs", "streamingProfile"];

/** Reads the scripts of all `*.json` files of a folder, by name. Throws a sentence that names file, turn and field. */
export function readScripts(folder: string): readonly Script[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
  const scripts = names.flatMap((name) => parseScripts(join(folder, name), readFileSync(join(folder, name), "utf8")));
  if (scripts.length === 0) throw new Error(`${folder} holds no script: mount a ConfigMap with one or more *.json files there`);
  const double = scripts.find(({ prompt }, index) => scripts.findIndex((other) => other.prompt === prompt) !== index);
  if (double !== undefined) throw new Error(`${folder} holds two scripts with the prompt ${JSON.stringify(double.prompt)}; one of them would never be used`);
  return scripts;
}

/** Pure. `where` names the file in errors. */
export function parseScripts(where: string, text: string): readonly Script[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${where} is not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return (Array.isArray(value) ? value : [value]).map((one) => parseScript(where, one));
}

function parseScript(where: string, value: unknown): Script {
  const { prompt, turns } = fieldsOf(where, value, ["prompt", "turns"]);
  if (typeof prompt !== "string" || prompt === "") throw new Error(`${where}: prompt must be a text that the session's prompt holds`);
  if (!Array.isArray(turns) || turns.length === 0) throw new Error(`${where}: turns must be a list of one or more answers`);
  return { prompt, turns: turns.map((turn, index) => parseTurn(`${where}: turns[${index}]`, index, turn)) };
}

function parseTurn(where: string, index: number, value: unknown): Turn {
  const { expect, options, ...answer } = fieldsOf(where, value, [...RESPONSE_FIELDS, "expect", "options"]);
  const fixtureOptions = options === undefined ? {} : fieldsOf(`${where}.options`, options, OPTION_FIELDS);
  const response = normalizeResponse(withIds(where, index, answer));
  const fixture: Fixture = { match: { userMessage: "any" }, response, ...fixtureOptions };
  const [finding] = validateFixtures([fixture]).filter(({ severity }) => severity === "error");
  if (finding !== undefined) throw new Error(`${where}: ${finding.message}`);
  return { response, options: fixtureOptions, ...(expect !== undefined && { expect: parsePattern(`${where}.expect`, expect) }) };
}

/** Ids by place, so that a conversation that is asked again reads the same. */
function withIds(where: string, turn: number, { toolCalls, ...rest }: Record<string, unknown>): Record<string, unknown> {
  if (toolCalls === undefined) return rest;
  if (!Array.isArray(toolCalls)) throw new Error(`${where}.toolCalls must be a list`);
  return { ...rest, toolCalls: toolCalls.map((call: unknown, index) => ({ id: `call_${turn}_${index}`, ...fieldsOf(`${where}.toolCalls[${index}]`, call, ["name", "arguments", "id"]) })) };
}

function parsePattern(where: string, pattern: unknown): RegExp {
  if (typeof pattern !== "string") throw new Error(`${where} must be a regular expression in a string`);
  try {
    return new RegExp(pattern, "m");
  } catch (error) {
    throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function fieldsOf(where: string, value: unknown, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${where} must be an object with ${known.join(", ")}`);
  const unknown = Object.keys(value).find((field) => !known.includes(field));
  if (unknown !== undefined) throw new Error(`${where}: unknown field ${unknown}; known are ${known.join(", ")}`);
  return value as Record<string, unknown>;
}
