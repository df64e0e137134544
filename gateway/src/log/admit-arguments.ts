import { Script, createContext } from "node:vm";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ValidateFunction } from "ajv/dist/2020.js";
import { canonicalJson } from "@paddock/api/log/canonical";
import { customToolOf } from "@paddock/api/policy/rules";
import type { CustomTool, PolicyInput } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";

/** Schemas that stay compiled, and the largest that is compiled at all, which is what an Agent's field says. */
const KEPT_SCHEMAS = 256;
const SCHEMA_BYTES = 16_384;
const MOST_FAULTS = 8;
const FAULT_CHARS = 300;
/**
 * A pattern in somebody's schema may take for ever on some text, and a schema of many members for seconds until it is compiled: everybody's gateway must
 * not. A schema that did so often is not tried again.
 */
const PATIENCE_MS = 1000;
const MOST_FAILURES = 3;
/** A busy machine lets time pass in which nothing is worked: then it is tried again. */
const MOST_TRIES = 5;

/** Whether arguments fit a schema; [] when they do. Agents of several tenants may share it: `name` is the asking one's. */
type Check = (args: unknown, name: string) => readonly string[];

const checks = new Map<string, Check>();

/** What is wrong with a call's arguments, a sentence each; [] when they are the tool's. */
export function argumentFaults(input: Pick<PolicyInput, "agent">, name: string, args: unknown): readonly string[] {
  const custom = customToolOf(input, name);
  return custom === undefined ? (toolOf(name)?.faultsOf(args) ?? ["no such tool"]) : customFaults(custom, args);
}

/** By the tool's inputSchema: JSON Schema, draft 2020-12. Nothing is fetched that it refers to; one that cannot be used is a fault of each call. */
function customFaults({ name, inputSchema }: CustomTool, args: unknown): readonly string[] {
  const key = canonicalJson(inputSchema);
  const check = checks.get(key) ?? compile(inputSchema, key);
  checks.delete(key);
  checks.set(key, check);
  for (const oldest of checks.keys()) {
    if (checks.size <= KEPT_SCHEMAS) break;
    checks.delete(oldest);
  }
  return check(args, name);
}

function compile(schema: CustomTool["inputSchema"], text: string): Check {
  const cannot = (why: string): Check => (_, name) => [`agent.spec.customTools: the inputSchema of ${name} cannot be used: ${why}`];
  if (Buffer.byteLength(text) > SCHEMA_BYTES) return cannot(`it has more than ${SCHEMA_BYTES} bytes`);
  try {
    // Not strict: a keyword or format of another dialect is ignored, as the drafts say. A validator of its own: `$id`s of schemas never meet.
    // A new one for each try: one that was stopped in its work is of no use.
    const validate = withPatience(() => new Ajv2020({ strict: false, validateFormats: false, logger: false, inlineRefs: false }).compile(schema));
    // Its fault would be a rejection that nobody waits for, which ends the process.
    return "$async" in validate ? cannot("$async is no JSON Schema") : checkWith(validate);
  } catch (error) {
    return cannot(messageOf(error));
  }
}

function checkWith(validate: ValidateFunction): Check {
  let failures = 0;
  return (args) => {
    if (failures >= MOST_FAILURES) return ["they cannot be checked: a pattern of the inputSchema took too long for earlier ones; make it simpler in the Agent"];
    try {
      if (withPatience(() => validate(args))) return [];
    } catch (error) {
      failures += 1;
      return [`they cannot be checked: ${messageOf(error)}`];
    }
    return (validate.errors ?? []).slice(0, MOST_FAULTS).map(({ instancePath, message = "does not fit" }) => `${instancePath} ${message}`.trim().slice(0, FAULT_CHARS));
  };
}

const script = new Script("work()");

/** Runs `work` to its end or for PATIENCE_MS of this process's own time, whatever comes first: then it throws. */
function withPatience<T>(work: () => T): T {
  for (let tries = 1; ; tries += 1) {
    const before = process.cpuUsage();
    try {
      return script.runInContext(createContext({ work }), { timeout: PATIENCE_MS }) as T;
    } catch (error) {
      const { user, system } = process.cpuUsage(before);
      if (!isTimeout(error) || tries >= MOST_TRIES || (user + system) / 1000 >= PATIENCE_MS / 2) throw error;
    }
  }
}

function isTimeout(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
}

function messageOf(error: unknown): string {
  // What a context of its own throws is no Error of ours.
  const message = typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error);
  return message.slice(0, FAULT_CHARS);
}
