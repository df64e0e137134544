import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileAt } from "./testdata/file.ts";
import { networkOf, openLab } from "./testdata/lab.ts";
import type { Lab } from "./testdata/lab.ts";
import type { NetworkSettings } from "./outward.ts";
import { answer, startModel } from "./testdata/model.ts";

// What leaves a sandbox ends with its session: a program of a real sandbox downloads without an end, and outlives its download where it may.

const HOST = "files.example.com";

interface Download {
  readonly lab: Lab;
  readonly network: NetworkSettings;
  /** Resolves when the download was cut, as the far side sees it. */
  readonly cut: Promise<unknown>;
}

/** Resolves when the bytes flow. */
async function openDownload(t: TestContext): Promise<Download & { readonly flows: Promise<void> }> {
  const { promise: cut, resolve: onCut } = Promise.withResolvers<void>();
  const upstream = createServer((_request, response) => {
    response.on("error", () => undefined).once("close", onCut);
    const drip = setInterval(() => response.write("x".repeat(1000)), 5);
    response.once("close", () => clearInterval(drip));
    response.writeHead(200);
  }).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  t.after(() => {
    upstream.closeAllConnections();
    upstream.close();
  });
  const { port } = upstream.address() as AddressInfo;
  const program = `
const { writeFileSync } = require("fs");
const request = require("http").get({ host: "127.0.0.1", port: new URL(process.env.HTTP_PROXY).port, path: "http://${HOST}:${port}/" }, (response) => {
  response.once("data", () => writeFileSync("flows", ""));
  response.on("error", () => {}).resume().once("close", () => writeFileSync("cut", ""));
});
request.on("error", () => {});
require("fs").watch(".", (_, name) => name === "go" && process.exit(0));
setInterval(() => {}, 1000);`;
  const model = await startModel(t, [
    answer({ calls: [{ name: "write", arguments: { path: "load.js", content: program } }] }),
    answer({ calls: [{ name: "bash", arguments: { command: "node load.js" } }] }),
    answer({ text: "Done." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL, network: { allowedHosts: [{ host: HOST, ports: [port] }] } });
  const dialing = { resolve: () => Promise.resolve(["127.0.0.1"]), isAddressAllowed: () => true };
  const network: NetworkSettings = { ...networkOf({ credentials: lab.folder }), dialing };
  return { lab, network, cut, flows: fileAt(join(lab.sandbox.workspace, "flows")) };
}

test("a cancel ends what leaves the sandbox, and the log has every byte of it before the end", { timeout: 120_000 }, async (t) => {
  const { lab, network, cut, flows } = await openDownload(t);
  const ended = lab.run({ ports: { network } });
  await flows;
  await lab.asOperator({ type: "session.cancelled", data: { reason: "asked" } });
  await cut;
  assert.equal(await ended, "finished");
  assert.equal((await lab.of("run.finished"))[0]?.data.outcome, "Cancelled");
  const told = await lab.of("egress.decided");
  assert.ok(told.every(({ data }) => data.host === HOST && data.decision === "Allow" && data.rule === "network.allowedHosts[0]"));
  assert.equal(told.reduce((sum, { data }) => sum + data.count, 0), 1);
  assert.ok(told.reduce((sum, { data }) => sum + data.bytesReceived, 0) > 0);
  assert.ok((await lab.events()).findLastIndex(({ type }) => type === "egress.decided") < (await lab.events()).findIndex(({ type }) => type === "run.finished"));
});

test("a runner that is told to end cuts what leaves the sandbox first, and lets the call end by itself", { timeout: 120_000 }, async (t) => {
  const { lab, network, cut, flows } = await openDownload(t);
  const stop = new AbortController();
  const ended = lab.run({ stop: stop.signal, ports: { network } });
  await flows;
  stop.abort();
  await Promise.all([cut, fileAt(join(lab.sandbox.workspace, "cut"))]);
  assert.equal((await lab.of("tool.finished")).length, 1, "the call still runs");
  await writeFile(join(lab.sandbox.workspace, "go"), "");
  assert.equal(await ended, "stopped");
  assert.equal((await lab.of("tool.finished"))[1]?.data.status, "ok");
  assert.ok((await lab.of("egress.decided")).reduce((sum, { data }) => sum + data.bytesReceived, 0) > 0);
});
