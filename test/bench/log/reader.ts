import { createInterface } from "node:readline";
import { type Target, follow } from "../../fakes/client.ts";

// A process that follows many streams. Its first line of input names them; "report" is answered with what was seen since the last report.

interface Stream {
  readonly path: string;
  readonly token: string;
}

export interface Report {
  readonly open: number;
  /** Events seen, and for those that say when they were due how long after that, in milliseconds. */
  readonly events: number;
  readonly latenciesMs: readonly number[];
  /** Largest sequence number by stream, in the order in which they were named. */
  readonly lastSeqs: readonly number[];
  /** Events whose number did not follow the one before. */
  readonly gaps: number;
}

const seen = { open: 0, events: 0, gaps: 0, latenciesMs: [] as number[], lastSeqs: [] as number[] };

async function read(target: Target, stream: Stream, index: number): Promise<void> {
  for (;;) {
    // While the gateway is down for a moment, which is what is measured, each try fails.
    await readOnce(target, stream, index).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function readOnce(target: Target, { path, token }: Stream, index: number): Promise<void> {
  const last = seen.lastSeqs[index] ?? 0;
  const events = await follow(target, { path, token, headers: last > 0 ? { "last-event-id": lastIdOf(path, last) } : {} });
  seen.open += 1;
  for await (const message of events) {
    if (message.event === "log") take(index, message.data as { seq: number; data?: { message?: string } });
  }
  seen.open -= 1;
}

function lastIdOf(path: string, seq: number): string {
  return path.startsWith("/v1/runner") ? `${seq}` : `${new URL(path, "https://localhost").searchParams.get("uid") ?? ""}:${seq}`;
}

function take(index: number, { seq, data }: { readonly seq: number; readonly data?: { readonly message?: string } }): void {
  const now = process.hrtime.bigint();
  if (seq !== (seen.lastSeqs[index] ?? 0) + 1) seen.gaps += 1;
  seen.lastSeqs[index] = seq;
  seen.events += 1;
  const dueAt = /^due (\d+)$/.exec(data?.message ?? "")?.[1];
  if (dueAt !== undefined) seen.latenciesMs.push(Number(now - BigInt(dueAt)) / 1e6);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "report") {
    const report: Report = { ...seen, latenciesMs: seen.latenciesMs.splice(0), lastSeqs: [...seen.lastSeqs] };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const { target, streams } = JSON.parse(line) as { target: Target; streams: readonly Stream[] };
  for (const [index, stream] of streams.entries()) {
    seen.lastSeqs[index] = 0;
    void read(target, stream, index);
  }
}).on("close", () => process.exit(0));
