import assert from "node:assert/strict";
import { test } from "node:test";
import { openLab } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";

test("a refused connection is told beside the result, also by a program that shows nothing but a status", async (t) => {
  const commands = ["curl -sS https://not-listed.example/ > /dev/null 2>&1; echo done", "echo nothing refused"];
  const model = await startModel(t, [...commands.map((command) => answer({ calls: [{ name: "bash", arguments: { command } }] })), answer({ text: "It is not allowed." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  assert.equal(await lab.run(), "finished");
  const [refused, fine] = (await lab.of("tool.finished")).map(({ data }) => data);
  assert.match(refused?.note ?? "", /Paddock refused not-listed\.example:443: .* spec\.network\.allowedHosts of Environment environment/);
  assert.equal(fine?.note, undefined);
  assert.ok(JSON.stringify(model.asked[1]?.body.messages).includes("not-listed.example:443"), "the model reads it");
});
