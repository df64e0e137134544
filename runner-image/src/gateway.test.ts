import assert from "node:assert/strict";
import { test } from "node:test";
import { RUNNER_EVENTS, RUNNER_STREAM } from "@paddock/api/wire/runner";
import { connectGateway, GatewayRefusal } from "./gateway.ts";
import { openLab } from "./testdata/lab.ts";
import { startRelay } from "./testdata/relay.ts";

test("a stream asked for on a kept connection to a gateway that is gone is given up", { timeout: 60_000 }, async (t) => {
  const lab = await openLab(t, { baseURL: "http://127.0.0.1:1" });
  const relay = await startRelay(t, Number(new URL(lab.gateway.url).port));
  const { tokenFile } = await lab.register("pod");
  const gateway = connectGateway({ url: new URL(`https://localhost:${relay.port}`), ca: lab.gateway.ca, tokenFile, answerMs: 500 });
  t.after(() => gateway.close());
  await assert.rejects(gateway.post(RUNNER_EVENTS, {}), GatewayRefusal);
  relay.freeze();
  await assert.rejects(gateway.stream(RUNNER_STREAM, {}, new AbortController().signal), /hang up/);
});
