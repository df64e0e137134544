import { request } from "node:https";
import { text } from "node:stream/consumers";
import { apply, eventually } from "../../e2e/lab.ts";
import { must } from "../../e2e/kubectl.ts";
import { userToken } from "../../e2e/people.ts";
import type { Attack, Outcome } from "../attack.ts";
import type { Stage } from "../stage.ts";
import { held } from "./network.ts";

// The gateway, asked by those who have a token that is not for this: the runner's own, taken out of its pod, and others.

interface Tokens {
  readonly runner: string;
  readonly reader: string;
  /** Of a service account, for the gateway's audience, but of no pod. */
  readonly podless: string;
  /** Of a person, for the API server. */
  readonly person: string;
}

async function tokensOf(stage: Stage): Promise<Tokens> {
  return stage.once("tokens", async () => {
    const { runner } = await held(stage, "standard");
    await apply(stage.namespace, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "podless" } });
    const read = 'process.stdout.write(require("node:fs").readFileSync("/run/paddock/token/token", "utf8"))';
    return {
      runner: await must(["exec", runner.metadata.name, "-n", stage.namespace, "--", "node", "-e", read]),
      reader: await userToken(stage.namespace, "reader"),
      podless: (await must(["create", "token", "podless", "-n", stage.namespace, "--audience", "paddock-gateway"])).trim(),
      person: (await must(["create", "token", "podless", "-n", stage.namespace])).trim(),
    };
  });
}

const outcomeOf = ({ status, body }: { readonly status: number; readonly body: string }): Outcome => ({ succeeded: status >= 200 && status < 300, how: `${status} ${/"type":"[^"]*?([\w-]+)"/.exec(body)?.[1] ?? ""} ${body.slice(0, 200)}` });

/** What the runner is told at first: its epoch and the newest batch. It has to end by itself: the stream does not. */
async function assignmentOf({ gateway }: Stage, token: string): Promise<{ readonly epoch: number; readonly lastBatch: number }> {
  return new Promise((resolve, reject) => {
    const asked = request(`${gateway.url}/v1/runner`, { ca: gateway.ca, servername: "localhost", headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" } }, (response) => {
      let heard = "";
      if (response.statusCode !== 200) return void text(response).then((body) => reject(new Error(`the gateway tells no assignment: ${response.statusCode ?? 0} ${body}`)), reject);
      response.on("data", (chunk: Buffer) => {
        heard += chunk.toString();
        const data = /event: ?assignment[^]*?data: ?(\{.*\})\r?\n/.exec(heard)?.[1];
        if (data === undefined) return;
        asked.destroy();
        resolve(JSON.parse(data) as { epoch: number; lastBatch: number });
      });
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** One batch in the runner's name; the epoch and batch that it has, changed by `change`. */
async function append(stage: Stage, token: string, events: readonly object[], change: { readonly epoch?: number } = {}): Promise<Outcome> {
  const { runner } = await tokensOf(stage);
  const { epoch, lastBatch } = await assignmentOf(stage, runner);
  return outcomeOf(await stage.gateway.post("/v1/runner/events", token, { epoch: epoch + (change.epoch ?? 0), batch: lastBatch + 1, events }));
}

const egress = { type: "egress.decided", data: { host: "attack.example.com", port: 443, decision: "Deny", rule: "HostNotAllowed", count: 1, bytesSent: 0, bytesReceived: 0 } };
const started = { type: "tool.started", data: { call: "root/7/0", attempt: 1, idempotencyKey: "attack", deadline: "2999-01-01T00:00:00Z" } };
const isolated = { type: "isolation.reported", data: { podUid: "00000000-0000-0000-0000-000000000000", probed: [], open: [] } };

/** The same batch as a runner may send it: one that only counts. Appended once; the batches are the held runner's, which sends nothing while it waits. */
const honest = async (stage: Stage): Promise<Outcome> => stage.once("an honest batch", async () => append(stage, (await tokensOf(stage)).runner, [egress]));

const read = (stage: Stage, token: string | undefined, session = "held-standard", namespace = stage.namespace) => async (): Promise<Outcome> =>
  outcomeOf(await stage.gateway.get(`/v1/namespaces/${namespace}/sessions/${session}/events?limit=1`, token));

/** Only when the record is there: a session that nobody knows yet is no control. */
const readByReader = (stage: Stage): Promise<Outcome> => eventually("the log of the held session", async () => {
  const outcome = await read(stage, (await tokensOf(stage)).reader)();
  return outcome.succeeded && outcome;
}, 20);

interface Asked {
  readonly name: string;
  readonly attempt: (stage: Stage, tokens: Tokens) => Promise<Outcome>;
  readonly control: (stage: Stage) => Promise<Outcome>;
}

const ASKED: readonly Asked[] = [
  { name: "a log, without a token", attempt: (stage) => read(stage, undefined)(), control: readByReader },
  { name: "a log, with a runner's token", attempt: (stage, { runner }) => read(stage, runner)(), control: readByReader },
  { name: "a log, with the token of somebody without the right", attempt: (stage, { person }) => read(stage, person)(), control: readByReader },
  { name: "a log of another namespace", attempt: (stage, { reader }) => read(stage, reader, "any", stage.other)(), control: readByReader },
  { name: "an event, with a person's token", attempt: (stage, { reader }) => append(stage, reader, [egress]), control: honest },
  { name: "an event, with a token of the right audience and no pod", attempt: (stage, { podless }) => append(stage, podless, [egress]), control: honest },
  { name: "an event of an earlier epoch", attempt: (stage, { runner }) => append(stage, runner, [egress], { epoch: -1 }), control: honest },
  { name: "an event of a later epoch", attempt: (stage, { runner }) => append(stage, runner, [egress], { epoch: 1 }), control: honest },
  { name: "the start of a call that nobody decided, by a runner that lies", attempt: (stage, { runner }) => append(stage, runner, [started]), control: honest },
  { name: "a report on a sandbox that is not the session's, by a runner that lies", attempt: (stage, { runner }) => append(stage, runner, [isolated]), control: honest },
  {
    name: "the operator's routes, with a runner's token",
    attempt: async (stage, { runner }) => outcomeOf(await stage.gateway.post("/v1/records/00000000-0000-0000-0000-000000000000/events", runner, { events: [] })),
    control: readByReader,
  },
  {
    name: "the API server, with a runner's token",
    attempt: async (_, { runner }) => apiServer(runner),
    control: async (stage) => apiServer((await tokensOf(stage)).person),
  },
];

/** Whether the API server knows the token at all. */
async function apiServer(token: string): Promise<Outcome> {
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } };
  const { status } = JSON.parse(await must(["create", "-f", "-", "-o", "json"], { input: JSON.stringify(review) })) as { status: { authenticated?: boolean; error?: string } };
  return { succeeded: status.authenticated === true, how: status.authenticated === true ? "known" : "not known" };
}

export const gatewayAttacks: readonly Attack[] = ASKED.map(({ name, attempt, control }) => ({
  area: "gateway", name, attempt: async (stage) => attempt(stage, await tokensOf(stage)), control: async (stage) => control(stage),
}));
