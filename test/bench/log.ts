import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { printFigure, quantile } from "./figures.ts";
import { type GatewayProcess, startGatewayProcess } from "./log/process.ts";
import { type Readers, startReaders } from "./log/readers.ts";
import { type BenchSession, append, openSessions, openWire } from "./log/sessions.ts";

// The session log under load: 200 writers, 1,000 readers, and a gateway that is killed with 1,000 live sessions. The gateway is a process of its own over
// real TLS and real fsync; everything is on this machine, so writers, readers and gateway share its cores.

const WRITERS = 200;
const READERS = 1000;
const SESSIONS = 1000;
/** Appends per second that arrive whatever the gateway does. */
const RATE = 400;
const OPEN_SECONDS = 15;
const CLOSED_SECONDS = 8;
const READERS_PER_PERSON = 50;

export async function run(): Promise<void> {
  const gateway = await startGatewayProcess();
  const wire = openWire(WRITERS);
  try {
    const idleMB = gateway.memoryMB();
    const sessions = await openSessions(gateway, "w", WRITERS);
    await measureAppends(gateway, wire, sessions);
    await measureReaders(gateway, wire, sessions);
    await measureRestart(gateway, wire, idleMB);
  } finally {
    wire.close();
    await gateway.close();
  }
}

/** Calls `send` for each append at its intended time; resolves with their latencies in milliseconds from that time. */
async function openLoop(seconds: number, send: (index: number, dueAt: bigint) => Promise<void>): Promise<number[]> {
  const latencies: number[] = [];
  const pending: Promise<void>[] = [];
  const start = process.hrtime.bigint();
  for (let index = 0; index < seconds * RATE; index += 1) {
    const dueAt = start + BigInt(Math.round((index * 1e9) / RATE));
    const early = Number(dueAt - process.hrtime.bigint()) / 1e6;
    if (early > 1) await sleep(early);
    pending.push(send(index, dueAt).then(() => void latencies.push(Number(process.hrtime.bigint() - dueAt) / 1e6)));
  }
  await Promise.all(pending);
  return latencies;
}

async function measureAppends(gateway: GatewayProcess, wire: ReturnType<typeof openWire>, sessions: readonly BenchSession[]): Promise<void> {
  const write = inTurn(gateway, wire, sessions);
  await openLoop(3, write);
  const latencies = await openLoop(OPEN_SECONDS, write);
  console.log(`# M12: ${WRITERS} writers, ${RATE} appends arrive each second for ${OPEN_SECONDS} s; latency from the intended time to the acknowledgement`);
  print("append p50", quantile(latencies, 0.5), "ms");
  print("append p99", quantile(latencies, 0.99), "ms");
  const cpuBefore = gateway.cpuSeconds();
  const giveUpAt = Date.now() + CLOSED_SECONDS * 1000;
  let count = 0;
  await Promise.all(
    sessions.map(async (session) => {
      while (Date.now() < giveUpAt) {
        await append(wire, gateway, session, process.hrtime.bigint());
        count += 1;
      }
    }),
  );
  const rate = count / CLOSED_SECONDS;
  const control = syncedWrites();
  print("appends per second, each writer asks again at once", rate, "1/s");
  print("gateway CPU per append", ((gateway.cpuSeconds() - cpuBefore) * 1000) / count, "ms");
  print("control: writes of 400 bytes with fdatasync, one at a time", control, "1/s");
  print("appends against control", rate / control, "ratio");
}

/** Appends of all sessions in turn; those of one session wait for each other, as a runner's do. */
function inTurn(gateway: GatewayProcess, wire: ReturnType<typeof openWire>, sessions: readonly BenchSession[]): (index: number, dueAt: bigint) => Promise<void> {
  const last = new Map<string, Promise<void>>();
  return async (index, dueAt) => {
    const session = sessions[index % sessions.length];
    if (session === undefined) throw new RangeError("no sessions");
    const next = (last.get(session.uid) ?? Promise.resolve()).then(() => append(wire, gateway, session, dueAt));
    last.set(session.uid, next);
    await next;
  };
}

/** What the disk gives a program that waits for each write of an event's size. */
function syncedWrites(): number {
  const folder = mkdtempSync(join(tmpdir(), "paddock-bench-sync-"));
  const file = openSync(join(folder, "control"), "w");
  try {
    const body = "x".repeat(400);
    const giveUpAt = Date.now() + 3000;
    let count = 0;
    for (; Date.now() < giveUpAt; count += 1) {
      writeSync(file, body);
      fdatasyncSync(file);
    }
    return count / 3;
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
}

async function measureReaders(gateway: GatewayProcess, wire: ReturnType<typeof openWire>, sessions: readonly BenchSession[]): Promise<void> {
  const people = Array.from({ length: READERS / READERS_PER_PERSON }, (_, index) => gateway.reviews.personToken(`reader-${index}`, ["team"]));
  const streams = Array.from({ length: READERS }, (_, index) => {
    const { name, uid } = sessions[index % sessions.length] ?? { name: "", uid: "" };
    return { path: `/v1/namespaces/team/sessions/${name}/events?uid=${uid}`, token: people[Math.floor(index / READERS_PER_PERSON)] ?? "" };
  });
  const readers = startReaders(gateway.target(), streams);
  try {
    await readers.until(({ open }) => open === READERS);
    await settled(readers);
    const write = inTurn(gateway, wire, sessions);
    // Each append goes to five readers.
    const [appends] = await Promise.all([openLoop(OPEN_SECONDS, (index, dueAt) => (index % 4 === 0 ? write(index / 4, dueAt) : Promise.resolve()))]);
    const seen = await settled(readers);
    const latencies = seen.latenciesMs.slice(-((OPEN_SECONDS * RATE) / 4) * (READERS / WRITERS));
    console.log(`# M13: ${READERS} readers, ${RATE / 4} appends each second, each seen by ${READERS / WRITERS}; latency from the append's intended time to the reader (${appends.length} arrivals)`);
    print("seen p50", quantile(latencies, 0.5), "ms");
    print("seen p99", quantile(latencies, 0.99), "ms");
    print("gaps", seen.gaps, "");
  } finally {
    readers.close();
  }
}

/** What the readers have seen once nothing more comes. */
async function settled(readers: Readers): Promise<Awaited<ReturnType<Readers["report"]>>> {
  const latenciesMs: number[] = [];
  for (let last = -1; ; ) {
    const seen = await readers.report();
    latenciesMs.push(...seen.latenciesMs);
    if (seen.events === last) return { ...seen, latenciesMs };
    last = seen.events;
    await sleep(500);
  }
}

async function measureRestart(gateway: GatewayProcess, wire: ReturnType<typeof openWire>, idleMB: number): Promise<void> {
  const before = gateway.memoryMB();
  const sessions = await openSessions(gateway, "live", SESSIONS);
  const readers = startReaders(gateway.target(), sessions.map(({ token }) => ({ path: "/v1/runner", token })));
  try {
    await readers.until(({ open }) => open === SESSIONS);
    await settled(readers);
    const liveMB = gateway.memoryMB();
    for (const session of sessions) await append(wire, gateway, session, process.hrtime.bigint());
    const wanted = (await settled(readers)).events;
    const killedAt = performance.now();
    await gateway.killAndStart();
    const servedAt = performance.now();
    await readers.until(({ open }) => open === SESSIONS);
    const backAt = performance.now();
    for (const session of sessions) await append(wire, gateway, session, process.hrtime.bigint());
    const seen = await readers.until(({ events }) => events >= wanted + SESSIONS);
    console.log(`# M14: the gateway killed with ${SESSIONS} live sessions, each with a runner that follows`);
    print("serves again after", servedAt - killedAt, "ms");
    print("all streams back after", backAt - killedAt, "ms");
    print("events lost", wanted + SESSIONS - seen.events + seen.gaps, "");
    console.log("# Memory of the gateway");
    print("idle, nothing stored", idleMB, "MB");
    print("after the load above", before, "MB");
    print(`with ${SESSIONS} more live sessions and their streams`, liveMB, "MB");
    print("after the restart, with all of them", gateway.memoryMB(), "MB");
  } finally {
    readers.close();
  }
}

function print(name: string, value: number, unit: string): void {
  printFigure(name, [value], unit);
}
