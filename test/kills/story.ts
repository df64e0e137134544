import type { House } from "./house.ts";
import type { ScriptedAnswer } from "./model.ts";
import { API_KEY } from "./model.ts";

// The long session: what its model says, and what its objects are. What people do in it is in play.ts.

export const FINAL = "All done.";
export const MESSAGE = "Mind the margins.";
export const POSTED = "posted as note 7";
export const REFUSAL = "not this one";
/** Prices of the model, in nano-USD per token, and the limit of each session. */
export const PRICE = { input: 1_000n, output: 2_000n } as const;
const LIMIT_USD = "5";

/** Marks that commands leave, one line for each time they run, by call. */
export const MARKS: Readonly<Record<string, string>> = { "root/1/0": "one", "root/5/0": "two" };

/** Calls by what must become of them: some may be lost between their start and their result. */
export const CALLS: Readonly<Record<string, "sure" | "once" | "denied" | "custom">> = {
  "root/1/0": "once",
  "root/1/1": "sure",
  "root/2/0": "sure",
  "root/3/0": "once",
  "root/3/1": "denied",
  "root/4/0": "custom",
  "root/5/0": "once",
  "root/6/0": "sure",
  "root/6/1": "sure",
};

/** Which asked calls are approved; the others are denied. */
export const APPROVED: readonly string[] = ["root/3/0"];
/** The call after whose result the sandbox is lost, and the step whose answer waits until the log knows it. */
export const LOSES_SANDBOX = "root/5/0";
export const AFTER_LOSS = 5;
export const TALKS_IN_TURN = 2;

const TEXTS = { "big.txt": Array.from({ length: 900 }, (_, line) => `line ${line} of a text that is long enough to be kept apart`).join("\n"), "style.md": "tone: dry\n", "other.md": "tone: wet\n" };

export function promptOf(folder: string): string {
  return `Work in ${folder} .`;
}

/** While there is a file of this name the mark's command goes on. */
export function holdOf(mark: string): string {
  return `hold-${mark}`;
}

function command(prompt: string, mark: string): string {
  const folder = prompt.split(" ")[2] ?? "";
  return `echo ${mark} >> '${folder}/${mark}'; while [ -e '${folder}/${holdOf(mark)}' ]; do sleep 0.02; done; echo said ${mark}`;
}

/** The model's answer for each step; after them the final one. */
export const STEPS: readonly ((prompt: string) => ScriptedAnswer)[] = [
  (prompt) => ({ calls: [{ name: "bash", arguments: { command: command(prompt, "one") } }, { name: "write", arguments: { path: "notes.md", content: "a note" } }] }),
  () => ({ text: "Now the long text.", calls: [{ name: "read", arguments: { path: "big.txt" } }] }),
  () => ({
    calls: [
      { name: "edit", arguments: { path: "style.md", oldText: "dry", newText: "warm" } },
      { name: "edit", arguments: { path: "other.md", oldText: "wet", newText: "cold" } },
    ],
  }),
  () => ({ calls: [{ name: "post_note", arguments: { text: "hello" } }] }),
  (prompt) => ({ calls: [{ name: "bash", arguments: { command: command(prompt, "two") } }] }),
  () => ({ calls: [{ name: "read", arguments: { path: "style.md" } }, { name: "write", arguments: { path: "more.md", content: "another note" } }] }),
];

export function script(step: number, prompt: string): ScriptedAnswer {
  return STEPS[step]?.(prompt) ?? { text: FINAL };
}

/** Makes what sessions refer to. */
export function furnish({ api, make, model }: House): void {
  api.store.create("/api/v1/configmaps", "team", { metadata: { name: "texts" }, data: TEXTS });
  make("Agent", "worker", {
    model: { name: "main" },
    instructions: "Work.",
    tools: [{ name: "bash" }, { name: "read" }, { name: "write" }, { name: "edit", permission: "Ask" }],
    customTools: [{ name: "post_note", description: "Posts a note.", inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false } }],
  });
  make("Environment", "lab", {
    models: [{ name: "main", model: "scripted", baseURL: model.baseURL, apiKey: { secretKeyRef: { name: "model", key: "key" } }, maxOutputTokens: 4096, pricing: { inputPerMillion: "1", outputPerMillion: "2" } }],
  });
}

export function sessionSpec(folder: string): object {
  const file = (path: string) => ({ path, configMapKeyRef: { name: "texts", key: path } });
  return {
    agentRef: { name: "worker" },
    environmentRef: { name: "lab" },
    prompt: promptOf(folder),
    files: Object.keys(TEXTS).map(file),
    limits: { costUSD: LIMIT_USD, maxTurns: 30 },
    idleTimeoutSeconds: 0,
  };
}

export const LIMIT_NANO_USD = BigInt(LIMIT_USD) * 10n ** 9n;
/** No text of a log may hold it. */
export const SECRET = API_KEY;
