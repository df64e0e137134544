import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { makeEgressAuthority } from "../egress/authority.ts";
import { ModelFailure } from "./failure.ts";
import { MODEL_LIMITS, openAnswer } from "./transport.ts";

test("an endpoint of a company's own authority is believed when the Environment names that, and only then", { timeout: 60_000 }, async (t) => {
  const authority = await makeEgressAuthority({ uid: "u1", hosts: ["localhost"], now: new Date() });
  const leaf = await authority.leafFor("localhost");
  const server = createServer({ SNICallback: (_name, done) => done(null, leaf) }, (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).end("data: [DONE]\n\n");
  }).listen(0, "localhost");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = new URL(`https://localhost:${(server.address() as AddressInfo).port}/v1/chat/completions`);
  const ask = async (ca: string | undefined): Promise<string> => {
    let text = "";
    for await (const piece of await openAnswer({ url, apiKey: undefined, ca, body: "{}", limits: MODEL_LIMITS, signal: new AbortController().signal })) text += piece.toString();
    return text;
  };
  await assert.rejects(ask(undefined), ModelFailure);
  assert.equal(await ask(authority.certificate), "data: [DONE]\n\n");
  await assert.rejects(ask("no certificate at all"), ModelFailure);
  assert.equal(await ask(authority.certificate), "data: [DONE]\n\n");
});
