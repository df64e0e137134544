import assert from "node:assert/strict";
import { test } from "node:test";
import { PROBLEM_BASE } from "@paddock/api/wire/problem";
import type { AppendRequest } from "@paddock/api/wire/runner";
import { connectGateway, GatewayRefusal } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { openLab } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";

const CALL = answer({ calls: [{ name: "bash", arguments: { command: "echo hi" } }] });

test("a request says what it will cost at most: its bytes at first, then what the endpoint counted", async (t) => {
  const model = await startModel(t, [CALL, answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run();
  const [first, second] = await lab.of("model.requested");
  assert.equal(first?.data.inputTokens, Buffer.byteLength(JSON.stringify(model.asked[0]?.body)));
  // 100 of input and 20 of output were counted, and a result of a few bytes came.
  assert.ok((second?.data.inputTokens ?? 0) > 120 && (second?.data.inputTokens ?? 0) < 250, String(second?.data.inputTokens));
  assert.deepEqual(model.asked.map(({ body }) => body["max_completion_tokens"]), [undefined, undefined], "no limit holds, and none is asked for");
});

test("an answer may be as long as what is left pays for", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, model: { maxOutputTokens: 12_000 }, limits: { maxTurns: 5, timeoutSeconds: 600, costUSD: "0.02" } });
  await lab.run();
  const [requested] = await lab.of("model.requested");
  assert.equal(requested?.data.maxOutputTokens, 12_000);
  const granted = requested.data.grant?.outputTokens ?? 0;
  assert.ok(granted >= 256 && granted < 10_000, String(granted));
  assert.equal(model.asked[0]?.body["max_completion_tokens"], granted);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed" } }]);
});

test("what was asked for is granted where the limits have room for it", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, model: { maxOutputTokens: 500 }, limits: { maxTurns: 5, timeoutSeconds: 600, totalTokens: 1_000_000 } });
  await lab.run();
  assert.equal((await lab.of("model.requested"))[0]?.data.grant?.outputTokens, 500);
  assert.equal(model.asked[0]?.body["max_completion_tokens"], 500);
});

test("a session whose budget is used up ends with what was used, what was allowed and what to raise", async (t) => {
  const model = await startModel(t, [answer({ text: "Never asked." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, limits: { maxTurns: 5, timeoutSeconds: 600, costUSD: "0.000001" } });
  await lab.run();
  assert.equal(model.asked.length, 0);
  const [end] = await lab.of("run.finished");
  assert.equal(end?.data.outcome, "BudgetExceeded");
  assert.match(end.data.reason, /limits\.costUSD of the session: 0 USD of 0\.000001 USD are used\. Raise limits\.costUSD of the Session/);
  assert.equal((await lab.of("budget.exceeded")).length, 1);
});

test("a request that waits for what others have reserved is asked again while this log stands still", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const pod = await lab.register("p1");
  const client = connectGateway({ url: new URL(lab.gateway.url), ca: lab.gateway.ca, tokenFile: pod.tokenFile });
  t.after(() => client.close());
  let refused = 0;
  const gateway: Gateway = {
    ...client,
    post(path, body) {
      const { events = [] } = body as Partial<AppendRequest>;
      if (events[0]?.type !== "model.requested" || refused === 2) return client.post(path, body);
      refused += 1;
      return Promise.reject(new GatewayRefusal(409, { type: `${PROBLEM_BASE}budget`, title: "budget", status: 409, detail: "others hold it", refusal: "wait" }));
    },
  };
  assert.equal(await lab.run({ podUid: "p1", ports: { gateway } }), "finished");
  assert.equal(refused, 2);
  assert.deepEqual((await lab.events()).map(({ type }) => type), ["session.bound", "input.received", "runner.started", "model.requested", "model.responded", "run.finished"]);
});
