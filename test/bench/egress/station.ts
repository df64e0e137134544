import { createInterface } from "node:readline";

// The other end of process.ts: what a process of the bench is told, and how it answers.

/** What the bench gave this process; its program says of what shape that is. */
export function readSettings(): unknown {
  return JSON.parse(process.argv[2] ?? "{}");
}

export function tell(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Answers each order with one line; ends the process when there are no more, so that it never outlives the bench. */
export async function serveOrders(serve: (order: unknown) => Promise<object>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) tell(await serve(JSON.parse(line)));
  process.exit(0);
}
