import { Agent, request } from "node:https";
import { text } from "node:stream/consumers";
import type { NewEvent } from "@paddock/api/log/events";
import { type Target, send } from "../../fakes/client.ts";
import { buildTestBundle, event, startedEvent } from "../../fakes/session.ts";
import type { GatewayProcess } from "./process.ts";

/** One live session and the pod that writes to it. */
export interface BenchSession {
  readonly uid: string;
  readonly name: string;
  readonly token: string;
  batch: number;
}

/** Many connections, each used again: what runners have one of. */
export interface Wire {
  post(target: Target, sent: { readonly path: string; readonly token: string; readonly body: object }): Promise<number>;
  close(): void;
}

export function openWire(connections: number): Wire {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    post: (target, { path, token, body }) =>
      new Promise((resolve, reject) => {
        const { hostname, port } = new URL(target.url);
        const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
        const outgoing = request({ hostname, port, path, method: "POST", ca: target.ca, agent, headers }, (response) => {
          text(response).then(() => resolve(response.statusCode ?? 0), reject);
        });
        outgoing.on("error", reject);
        outgoing.end(JSON.stringify(body));
      }),
    close: () => agent.destroy(),
  };
}

/** Makes sessions as the operator does, each with a runner that has started. */
export async function openSessions(gateway: GatewayProcess, prefix: string, count: number): Promise<BenchSession[]> {
  const operator = gateway.reviews.operatorToken();
  const sessions: BenchSession[] = [];
  for (let first = 0; first < count; first += 50) {
    const some = Array.from({ length: Math.min(50, count - first) }, (_, index) => `${prefix}-${first + index}`);
    sessions.push(...(await Promise.all(some.map((uid) => openSession(gateway, operator, uid)))));
  }
  return sessions;
}

async function openSession(gateway: GatewayProcess, operator: string, uid: string): Promise<BenchSession> {
  const target = gateway.target();
  const bundle = buildTestBundle(uid);
  const podUid = `pod-${uid}`;
  const token = gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid });
  const put = async (path: string, body: object): Promise<void> => {
    const { status, body: answer } = await send(target, { method: "PUT", path, token: operator, body });
    if (status >= 300) throw new Error(`PUT ${path}: ${status} ${JSON.stringify(answer)}`);
  };
  await put(`/v1/records/${uid}`, { bundle, namespaceUid: "team-uid", prompt: "Hello" });
  await put(`/v1/pods/${podUid}`, { sessionUid: uid, component: "runner", podName: podUid });
  const { status, body } = await send(target, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch: 1, events: [startedEvent(podUid, 1)] } });
  if (status !== 200) throw new Error(`runner.started of ${uid}: ${status} ${JSON.stringify(body)}`);
  return { uid, name: bundle.session.name, token, batch: 1 };
}

/** A small event that says when it was due, by a clock that all processes of the machine share. */
export function stamped(dueAt: bigint): NewEvent {
  return event("runner.reported", { problem: "EndpointUnreachable", subject: "bench", message: `due ${dueAt}` });
}

/** The next batch of a session: one event. Returns when it is acknowledged; throws when it is refused. */
export async function append(wire: Wire, gateway: GatewayProcess, session: BenchSession, dueAt: bigint): Promise<void> {
  session.batch += 1;
  const status = await wire.post(gateway.target(), { path: "/v1/runner/events", token: session.token, body: { epoch: 1, batch: session.batch, events: [stamped(dueAt)] } });
  if (status !== 200) throw new Error(`an append of session ${session.uid} was answered with ${status}`);
}
