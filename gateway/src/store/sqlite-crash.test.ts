import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { verifyLogs } from "../commands/verify.ts";
import { AT } from "./testdata/cases-scene.ts";
import { appendForEver, CRASH_DAY, CRASH_UIDS } from "./testdata/crash-writer.ts";
import type { Acknowledged } from "./testdata/crash-writer.ts";
import { openSqliteStore } from "./sqlite.ts";

const KILLS = 20;

/** Numbers from 0 to below 1 that only the seed decides (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A process that appends until it is killed, once it has acknowledged so many appends. Resolves with all that it acknowledged. */
async function appendAndKill(folder: string, after: number): Promise<readonly Acknowledged[]> {
  const writer = JSON.stringify(join(import.meta.dirname, "testdata/crash-writer.ts"));
  const code = `import { ${appendForEver.name} } from ${writer}; await ${appendForEver.name}(${JSON.stringify(folder)}, (one) => process.stdout.write(JSON.stringify(one) + "\\n"));`;
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", code], { stdio: ["ignore", "pipe", "inherit"] });
  const acknowledged: Acknowledged[] = [];
  const closed = once(child, "close");
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(JSON.parse(line) as Acknowledged);
    if (acknowledged.length === after) child.kill("SIGKILL");
  }
  assert.deepEqual(await closed, [null, "SIGKILL"]);
  return acknowledged;
}

test(`${KILLS} times kill -9 while eight sessions are appended to: no acknowledged event is lost, no append is there by half`, async (context) => {
  const seed = randomInt(2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const random = randomFrom(seed);
  const folder = mkdtempSync(join(tmpdir(), "paddock-crash-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const newest = new Map<string, number>();
  for (let life = 1; life <= KILLS; life += 1) {
    const said = `life ${life} of seed ${seed}`;
    const acknowledged = await appendAndKill(folder, 1 + Math.floor(random() * 200));
    for (const { uid, seq } of acknowledged) newest.set(uid, Math.max(seq, newest.get(uid) ?? 0));
    const store = openSqliteStore(folder, () => new Date(AT), { report: (error) => assert.fail(`${said}: ${String(error)}`) });
    try {
      const { logs, events, broken } = await verifyLogs({ store });
      assert.deepEqual(broken, [], said);
      for (const [uid, seq] of newest) {
        const record = await store.record(uid);
        assert.ok(record !== undefined && record.state.lastSeq >= seq, `${said}: event ${seq} of ${uid} was acknowledged, and the log ends with ${record?.state.lastSeq ?? "nothing"}`);
      }
      assert.ok(logs <= CRASH_UIDS.length);
      // Each log has two events from its creation; every other one was counted in the transaction that appended it.
      const [usage] = await store.usage({ namespace: "team", from: CRASH_DAY, to: CRASH_DAY, by: [] });
      assert.equal(usage?.requests ?? 0, events - 2 * logs, said);
    } finally {
      await store.close();
    }
  }
  assert.equal(newest.size, CRASH_UIDS.length);
});
