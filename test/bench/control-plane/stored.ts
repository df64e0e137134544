import { GROUP, VERSION } from "@paddock/api/group";
import type { ApiClient } from "../../../operator/src/cluster/http.ts";
import { buildSession, eventually } from "../../e2e/lab.ts";
import { inLanes } from "../../steps.ts";
import { read } from "./operator-pod.ts";

const LANES = 24;

/**
 * Makes the namespace hold `total` finished Sessions, from `already` on: each is made cancelled, so that the operator ends it with one write and no
 * pod. Resolves when the operator has written them all.
 */
export async function store(client: ApiClient, namespace: string, { already, total }: { readonly already: number; readonly total: number }): Promise<void> {
  const before = (await read()).writes;
  const path = `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/sessions`;
  const numbers = Array.from({ length: total - already }, (_, index) => already + index);
  await inLanes(numbers, LANES, async (number) => {
    await client.request({ verb: "create", resource: "sessions", method: "POST", path, body: buildSession(`stored-${number}`, "x".repeat(1000), { spec: { cancel: true } }) });
  });
  await eventually(`${numbers.length} sessions to be ended`, async () => (await read()).writes - before >= numbers.length, 600);
  await quiet();
}

/** Waits until the operator has written nothing for two seconds. */
export async function quiet(): Promise<void> {
  let before = -1;
  await eventually("a silent operator", async () => {
    const { writes } = await read();
    const isQuiet = writes === before;
    before = writes;
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    return isQuiet;
  }, 300);
}
