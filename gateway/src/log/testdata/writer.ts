import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { NewEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import { buildTestBundle, startedEvent } from "../../../../test/fakes/session.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import type { Store } from "../../store/store.ts";
import { openLogWriter } from "../append.ts";
import type { AppendResult, LogWriter, LogWriterPorts } from "../append.ts";

/** A clock that stands until it is moved. */
export interface Clock {
  now(): Date;
  pass(seconds: number): void;
}

export function stoppedClock(at: string): Clock {
  let ms = Date.parse(at);
  return { now: () => new Date(ms), pass: (seconds) => void (ms += seconds * 1000) };
}

export interface Opened {
  readonly store: Store;
  readonly writer: LogWriter;
  readonly now: () => Date;
  /** What the writer told of, in its order. */
  readonly commits: Parameters<LogWriterPorts["stored"]>[0][];
  readonly counts: string[];
}

/** A store on disk and its writer, as the gateway has them. */
export function open(folder: string, now = (): Date => new Date()): Opened {
  const store = openSqliteStore(folder, now);
  const commits: Opened["commits"] = [];
  const counts: string[] = [];
  const writer = openLogWriter({ store, now, count: (type, result) => void counts.push(`${type} ${result}`), stored: (commit) => void commits.push(commit) });
  return { store, writer, now, commits, counts };
}

export function makeFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "paddock-append-"));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A record with a started runner: batch 1 of epoch 1 is used, and three events are stored. */
export async function begin({ store, writer, now }: Opened, bundle: Bundle = buildTestBundle("u")): Promise<void> {
  const { uid } = bundle.session;
  await writer.create({ bundle, namespaceUid: "n1", prompt: "Hello" });
  const podUid = uid === "u" ? "p1" : `p-${uid}`;
  await store.register({ podUid, sessionUid: uid, component: "runner", podName: podUid }, now().toISOString());
  seqsOf(await writer.appendByRunner(uid, podUid, { epoch: 1, batch: 1, events: [startedEvent(podUid, 1)] }));
}

/** Appends by the runner of `begin`, in batches that count from 2. */
export function runnerOf({ writer }: Opened, uid = "u"): (...events: NewEvent[]) => Promise<AppendResult> {
  let batch = 2;
  return async (...events) => {
    const result = await writer.appendByRunner(uid, uid === "u" ? "p1" : `p-${uid}`, { epoch: 1, batch, events });
    if (result?.kind === "stored") batch += 1;
    return result;
  };
}

export async function stateOf({ store }: Pick<Opened, "store">, uid = "u"): Promise<SessionState> {
  return (await store.record(uid))?.state ?? assert.fail(`no record ${uid}`);
}

export function seqsOf(result: AppendResult): number[] {
  assert.equal(result?.kind, "stored", JSON.stringify(result));
  return result.kind === "stored" ? result.events.map(({ seq }) => seq) : [];
}

export function problemOf(result: AppendResult): string {
  assert.equal(result?.kind, "refuse");
  return result.kind === "refuse" ? result.problem : "";
}
