import type { ValidateFunction } from "ajv/dist/2020.js";
import type { CustomTool } from "@paddock/api/policy/rules";

/** Faults of one call's arguments that are told; a model repairs a few at a time. */
const MOST_FAULTS = 16;

const validators = new Map<string, Promise<ValidateFunction>>();

/**
 * What is wrong with these arguments of a custom tool, a sentence each; [] when its inputSchema (JSON Schema, draft 2020-12) takes them. A
 * schema that cannot be used is a fault of each call, in its own words: nothing is fetched that it refers to.
 */
export async function customFaults(tool: CustomTool, args: unknown): Promise<readonly string[]> {
  let validate: ValidateFunction;
  let isValid: boolean;
  try {
    validate = await validatorOf(tool.inputSchema);
    isValid = validate(args);
  } catch (error) {
    return [`the inputSchema of ${tool.name} in the Agent cannot be used: ${error instanceof Error ? error.message : String(error)}`];
  }
  if (isValid) return [];
  return (validate.errors ?? []).slice(0, MOST_FAULTS).map(({ instancePath, message = "does not fit", params }) => `${instancePath === "" ? "the arguments" : instancePath} ${message}${detailOf(params)}`);
}

/** Compiled once per process and schema. */
function validatorOf(schema: CustomTool["inputSchema"]): Promise<ValidateFunction> {
  const key = JSON.stringify(schema);
  const known = validators.get(key);
  if (known !== undefined) return known;
  const compiled = compile(schema);
  validators.set(key, compiled);
  return compiled;
}

/** The validator is loaded with the first call of a custom tool: most agents have none, and a start does not wait for it. */
async function compile(schema: CustomTool["inputSchema"]): Promise<ValidateFunction> {
  const { Ajv2020 } = await import("ajv/dist/2020.js");
  // Not strict: a keyword or format of another dialect is ignored, as the drafts say.
  const validate = new Ajv2020({ allErrors: true, strict: false, validateFormats: false, logger: false }).compile(schema);
  // Its fault would be a rejection that nobody waits for, which ends the process.
  if ("$async" in validate) throw new Error("$async is no JSON Schema");
  return validate;
}

/** Names that the validator's own message leaves out. */
function detailOf(params: Readonly<Record<string, unknown>>): string {
  const { additionalProperty, allowedValues } = params;
  if (typeof additionalProperty === "string") return `: ${JSON.stringify(additionalProperty.slice(0, 64))} is none`;
  return Array.isArray(allowedValues) ? `: ${JSON.stringify(allowedValues).slice(0, 500)}` : "";
}
