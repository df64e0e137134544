import assert from "node:assert/strict";
import { test } from "node:test";
import { openLab } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";

test("a session of two tools runs to its end", async (t) => {
  const model = await startModel(t, [
    answer({ text: "I write it.", calls: [{ name: "write", arguments: { path: "a.js", content: "console.log(6 * 7)\n" } }], extra: { reasoning_content: "hm" } }),
    answer({ calls: [{ name: "bash", arguments: { command: "node a.js" } }] }),
    answer({ text: "It printed 42." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL, prompt: "What is 6 * 7?" });
  assert.equal(await lab.run(), "finished");
  const events = await lab.events();
  assert.deepEqual(
    events.map(({ type }) => type),
    [
      ...["session.bound", "input.received", "runner.started"],
      ...["model.requested", "model.responded", "tool.decided", "sandbox.requested", "sandbox.bound", "tool.started", "tool.finished"],
      ...["model.requested", "model.responded", "tool.decided", "tool.started", "tool.finished"],
      ...["model.requested", "model.responded", "run.finished"],
    ],
  );
  const [finished] = await lab.of("run.finished");
  assert.deepEqual([finished?.data.outcome, finished?.data.text, finished?.data.reason], ["Completed", "It printed 42.", ""]);
  const [, bash] = await lab.of("tool.finished");
  assert.match(bash?.data.content ?? "", /^42$/m);
  const [responded] = await lab.of("model.responded");
  assert.deepEqual(responded?.data.usage, { inputTokens: 100, cachedInputTokens: 60, outputTokens: 20 });
  assert.deepEqual(responded.data.message.extra, { reasoning_content: "hm" });

  const [first, second, third] = model.asked.map(({ body }) => body.messages);
  assert.deepEqual(second?.slice(0, first?.length), first, "the start of a request is that of the one before");
  assert.deepEqual(third?.slice(0, second?.length), second);
  assert.equal((second?.[2] as { reasoning_content?: string }).reasoning_content, "hm");
  assert.equal(model.connections(), 1, "one connection serves all turns");
});
