import { type Bundle, TEXT_BYTES } from "@paddock/api/log/bundle";
import { digestOf } from "@paddock/api/log/canonical";
import type { ConfigMapKeyRef } from "@paddock/api/refs";
import type { BindRecord, Key } from "../kernel/kind.ts";
import { BoundTextError } from "./errors.ts";

/** A ConfigMap as far as texts are taken from it. */
export interface TextMap {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** One live GET; undefined when there is none of that name. */
export type ReadTextMap = (key: Key) => Promise<TextMap | undefined>;

/** A record as the gateway takes it, but for the namespace's UID. */
export interface CompleteRecord {
  readonly bundle: Bundle;
  readonly prompt: string;
}

/** One text to read, and what it is for in a sentence. */
interface Wanted {
  readonly what: string;
  readonly ref: ConfigMapKeyRef;
}

/**
 * The record with every text that it refers to filled in, read once: each ConfigMap by one GET, however many keys of it are wanted. The Agent's
 * digest is that of the spec so completed. Throws BoundTextError for what people have to mend, and what `read` throws.
 */
export async function completeRecord({ bundle, prompt, promptFrom, instructionsFrom, filesFrom }: BindRecord, read: ReadTextMap): Promise<CompleteRecord> {
  const { namespace } = bundle.session;
  const textOf = createReader(namespace, read);
  const asked = promptFrom === undefined ? prompt : await textOf({ what: "spec.promptFrom", ref: promptFrom });
  if (asked === undefined) throw new BoundTextError("invalid", `Session ${namespace}/${bundle.session.name} has neither prompt nor promptFrom: write one of them in a new Session`);
  if (promptFrom !== undefined) requireText(namespace, promptFrom, asked);
  const instructions = instructionsFrom === undefined ? undefined : await textOf({ what: `instructionsFrom of Agent ${bundle.agent.name}`, ref: instructionsFrom });
  if (instructionsFrom !== undefined) requireText(namespace, instructionsFrom, instructions ?? "");
  const files = filesFrom === undefined ? undefined : await readFiles(namespace, filesFrom, textOf);
  return {
    prompt: asked,
    bundle: { ...bundle, ...(instructions === undefined ? {} : { agent: withInstructions(bundle.agent, instructions) }), ...(files === undefined ? {} : { files }) },
  };
}

function withInstructions(agent: Bundle["agent"], instructions: string): Bundle["agent"] {
  const { instructionsFrom: _, ...own } = agent.spec;
  const spec = { ...own, instructions };
  return { ...agent, spec, digest: digestOf(spec) };
}

async function readFiles(namespace: string, wanted: NonNullable<BindRecord["filesFrom"]>, textOf: (wanted: Wanted) => Promise<string>): Promise<NonNullable<Bundle["files"]>> {
  requireSeparate(wanted.map(({ path }) => path));
  const files: { path: string; content: string }[] = [];
  let bytes = 0;
  for (const { path, configMapKeyRef } of wanted) {
    const content = await textOf({ what: `spec.files ${path}`, ref: configMapKeyRef });
    bytes += Buffer.byteLength(content);
    if (bytes > TEXT_BYTES) {
      const sum = `spec.files have more than ${TEXT_BYTES} bytes together, reached with ${path} (${nameOf(namespace, configMapKeyRef)}, ${Buffer.byteLength(content)} bytes)`;
      throw new BoundTextError("invalid", `${sum}: use fewer or shorter files in a new Session, or put them into the sandbox's image`);
    }
    files.push({ path, content });
  }
  return files;
}

/** A file cannot be the folder of another; no sandbox would take such files. */
function requireSeparate(paths: readonly string[]): void {
  for (const path of paths) {
    const inside = paths.find((other) => other.startsWith(`${path}/`));
    if (inside !== undefined) throw new BoundTextError("invalid", `spec.files has ${path} and ${inside}, but ${path} cannot be both a file and a folder: rename one in a new Session`);
  }
}

/** Reads texts of one namespace; a ConfigMap that was read is not read again. */
function createReader(namespace: string, read: ReadTextMap): (wanted: Wanted) => Promise<string> {
  const maps = new Map<string, Promise<TextMap | undefined>>();
  return async ({ what, ref }) => {
    const asked = maps.get(ref.name) ?? read({ namespace, name: ref.name });
    maps.set(ref.name, asked);
    return textIn(await asked, { what, ref, name: nameOf(namespace, ref), namespace });
  };
}

function textIn(map: TextMap | undefined, { what, ref, name, namespace }: Wanted & { readonly name: string; readonly namespace: string }): string {
  const missing = (fact: string): BoundTextError => new BoundTextError("missing-reference", `${fact}, which ${what} names: the session goes on by itself when it is there (kubectl get configmap ${ref.name} -n ${namespace})`);
  if (map === undefined) throw missing(`ConfigMap ${namespace}/${ref.name} does not exist`);
  const text = own(map.data, ref.key);
  if (text === undefined) {
    if (own(map.binaryData, ref.key) === undefined) throw missing(`ConfigMap ${namespace}/${ref.name} has no key ${ref.key}`);
    throw new BoundTextError("invalid", `${name}, which ${what} names, is binary data: ${NOT_TEXT}`);
  }
  const bytes = Buffer.byteLength(text);
  if (bytes > TEXT_BYTES) throw new BoundTextError("invalid", `${name}, which ${what} names, has ${bytes} bytes and at most ${TEXT_BYTES} are taken: shorten it`);
  // U+FFFD is what bytes that are not UTF-8 become on their way into a ConfigMap.
  const wrong = /[\0\uFFFD]/.exec(text);
  if (wrong !== null) throw new BoundTextError("invalid", `${name}, which ${what} names, holds ${wrong[0] === "\0" ? "a NUL character" : "U+FFFD"} at character ${wrong.index + 1}: ${NOT_TEXT}`);
  return text;
}

const NOT_TEXT = "write UTF-8 text under data, without NUL and U+FFFD (kubectl create configmap --from-file keeps text as text)";

function requireText(namespace: string, ref: ConfigMapKeyRef, text: string): void {
  if (text === "") throw new BoundTextError("invalid", `${nameOf(namespace, ref)} is empty: write the text into it`);
}

function own(values: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return values !== undefined && Object.hasOwn(values, key) ? values[key] : undefined;
}

function nameOf(namespace: string, { name, key }: ConfigMapKeyRef): string {
  return `key ${key} of ConfigMap ${namespace}/${name}`;
}
