import { Agent, request } from "node:https";
import { text } from "node:stream/consumers";
import { send } from "../../fakes/client.ts";
import { startLocalGateway } from "../../fakes/gateway.ts";
import type { LocalGateway } from "../../fakes/gateway.ts";
import { buildTestBundle, requestedEvent, respondedEvent, startedEvent } from "../../fakes/session.ts";
import { inLanes } from "../../steps.ts";
import { printFigure } from "../figures.ts";

// What an append costs the real gateway, in process, as sessions and turns pile up. CPU is this process's: client and gateway together, the same at every level.

const STORED = [100, 1_000] as const;
const TURNS = [20, 500] as const;
const MEASURED = 200;

/** Prints CPU per append at each level and the log-log slopes. */
export async function measureAppends(): Promise<void> {
  const gateway = await startLocalGateway();
  try {
    const byStored: number[] = [];
    let stored = 0;
    for (const level of STORED) {
      await inLanes(Array.from({ length: level - stored }, (_, index) => `stored-${stored + index}`), 8, async (uid) => void (await bind(gateway, uid)));
      stored = level;
      byStored.push(await costOfAppends(gateway, `at-${level}`, 1));
      printFigure(`m15_append_cpu_at_${level}_stored_sessions`, byStored.slice(-1), "ms");
    }
    const byTurns: number[] = [];
    for (const level of TURNS) {
      byTurns.push(await costOfAppends(gateway, `turns-${level}`, level));
      printFigure(`m15_append_cpu_after_${level}_turns`, byTurns.slice(-1), "ms");
    }
    printFigure("m15_growth_of_append_against_stored_sessions", [slope(STORED, byStored)], "log-log slope");
    printFigure("m15_growth_of_append_against_turns", [slope(TURNS, byTurns)], "log-log slope");
  } finally {
    await gateway.close();
  }
}

/** Of the last two levels. */
export function slope(levels: readonly number[], costs: readonly number[]): number {
  const [low = 1, high = 1] = levels.slice(-2);
  const [cheap = 1, dear = 1] = costs.slice(-2);
  return Math.log(dear / cheap) / Math.log(high / low);
}

async function bind(gateway: LocalGateway, uid: string): Promise<string> {
  const token = gateway.reviews.operatorToken();
  const bundle = buildTestBundle(uid, { limits: { maxTurns: 10_000, timeoutSeconds: 3600 } });
  const { status } = await send(gateway, { method: "PUT", path: `/v1/records/${uid}`, token, body: { bundle, namespaceUid: "n1", prompt: "Hello" } });
  if (status !== 201) throw new Error(`binding ${uid}: ${status}`);
  await send(gateway, { method: "PUT", path: `/v1/pods/pod-${uid}`, token, body: { sessionUid: uid, component: "runner", podName: `pod-${uid}` } });
  return gateway.reviews.runnerToken({ namespace: "team", podUid: `pod-${uid}`, podName: `pod-${uid}` });
}

/** CPU milliseconds per append of a session that has `turns` turns behind it. */
async function costOfAppends(gateway: LocalGateway, uid: string, turns: number): Promise<number> {
  const token = await bind(gateway, uid);
  // One connection, as a runner has: a handshake for each append would hide what grows.
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: gateway.ca });
  let batch = 0;
  let seq = 2;
  const append = async (events: readonly unknown[]): Promise<void> => {
    batch += 1;
    await post(gateway, { agent, token, body: { epoch: 1, batch, events } });
    seq += events.length;
  };
  const turn = async (number: number): Promise<void> => {
    await append([requestedEvent(number, 1, seq)]);
    await append([respondedEvent(number, 1)]);
  };
  await append([startedEvent(`pod-${uid}`, 1)]);
  for (let number = 1; number <= turns; number += 1) await turn(number);
  const before = process.cpuUsage();
  for (let number = turns + 1; number <= turns + MEASURED / 2; number += 1) await turn(number);
  const { user, system } = process.cpuUsage(before);
  agent.destroy();
  return (user + system) / 1000 / MEASURED;
}

interface Post {
  readonly agent: Agent;
  readonly token: string;
  readonly body: unknown;
}

function post(gateway: LocalGateway, { agent, token, body }: Post): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const outgoing = request(new URL("/v1/runner/events", gateway.url), { method: "POST", agent, headers }, (answer) => {
      text(answer).then((said) => (answer.statusCode === 200 ? resolve() : reject(new Error(`append: ${String(answer.statusCode)} ${said}`))), reject);
    });
    outgoing.on("error", reject);
    outgoing.end(JSON.stringify(body));
  });
}
