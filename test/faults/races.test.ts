import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { openHouse, until } from "../kills/house.ts";
import type { House } from "../kills/house.ts";
import type { ScriptedAnswer } from "../kills/model.ts";
import { DONE, createScenes, furnishScenes, scriptOfPrompt } from "../kills/scene.ts";
import type { Scene } from "../kills/scene.ts";

// What happens at the same moment, with every process a real one: gateway, operator, runners and sandboxes.

let house: House;
let scenes: ReturnType<typeof createScenes>;
let close = async (): Promise<void> => undefined;
before(async () => {
  house = await openHouse(scriptOfPrompt);
  ({ close } = house);
  furnishScenes(house);
  scenes = createScenes(house);
});
after(() => close());

const call = (name: string, args: object): NonNullable<ScriptedAnswer["calls"]>[number] => ({ name, arguments: args });
/** One call that needs a person's approval; it harms nothing. */
const ASKED: readonly ScriptedAnswer[] = [{ calls: [call("glob", { pattern: "*" })] }];
const NOTED: readonly ScriptedAnswer[] = [{ calls: [call("post_note", { text: "hello" })] }];
const isOf = (event: NewEvent, type: NewEvent["type"], callId?: string): boolean => event.type === type && (callId === undefined || (event.data as { readonly call?: string }).call === callId);
const never = new Promise<void>(() => undefined);

async function results(scene: Scene): Promise<Readonly<Record<string, string>>> {
  return Object.fromEntries((await scene.of("tool.finished")).map(({ data }) => [data.call, data.status]));
}

const types = (log: readonly LogEvent[]): string => log.map(({ type }) => type).join(" ");

test("two parallel calls with the runner killed between them: the started one is not known, the other runs once", async () => {
  const scene = scenes.make("between", (bash) => [{ calls: [call("bash", bash("a")), call("bash", bash("b"))] }], {
    hooks: {
      question: async (pod, { phase, events }) => {
        if (phase === "after" && events.some((event) => isOf(event, "tool.started", "root/1/0"))) await pod.kill();
      },
    },
  });
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual(await results(scene), { "root/1/0": "indeterminate", "root/1/1": "ok" });
  assert.deepEqual([scene.marks("a"), scene.marks("b")], [0, 1]);
  assert.equal((await scene.of("tool.started")).length, 2);
});

test("two parallel calls with the runner killed between their results: the recorded one stays, the running one is not repeated", async () => {
  const scene = scenes.make("results", (bash) => [{ calls: [call("bash", bash("a")), call("bash", bash("b"))] }], { held: ["b"] });
  await scene.seen("tool.finished", ({ data }) => data.call === "root/1/0");
  await until(() => scene.marks("b") === 1);
  await scene.pod("runner")?.kill();
  scene.release("b");
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual(await results(scene), { "root/1/0": "ok", "root/1/1": "indeterminate" });
  assert.deepEqual([scene.marks("a"), scene.marks("b")], [1, 1]);
});

test("approval and expiry at the same moment with no runner: one of them counts, and the call goes by it", async () => {
  const offsets = [-300, -40, -10, 0, 10, 40];
  const ended = offsets.map(async (offset, index) => {
    const scene = scenes.make(`hasty${index}`, () => ASKED, { environment: "hasty" });
    const { data } = await scene.seen("approval.requested");
    await scene.resting();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, Date.parse(data.expiresAt) + offset - Date.now())));
    await scene.decide(data.call, "Approved");
    assert.equal(await scene.ended(), "Completed");
    const [resolved, ...more] = await scene.of("approval.resolved");
    assert.deepEqual(more, []);
    const wanted = resolved?.data.decision === "Approved" ? "ok" : "denied";
    assert.deepEqual([await results(scene), (await scene.of("tool.started")).length], [{ "root/1/0": wanted }, wanted === "ok" ? 1 : 0]);
    return resolved?.data.decision ?? "";
  });
  const decisions = await Promise.all(ended);
  assert.ok(decisions.every((decision) => decision === "Approved" || decision === "Expired"), decisions.join());
});

test("cancel during a model call: the session ends cancelled, and what the answer may have cost is counted", async () => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const scene = scenes.make("cancelled", () => [], {
    hooks: {
      asked: async () => {
        resolve();
        await never;
      },
    },
  });
  await asked;
  scene.edit({ cancel: true });
  assert.equal(await scene.ended(), "Cancelled");
  const log = await scene.log();
  assert.match(types(log), /model\.requested (session\.cancelled )?.*run\.finished$/);
  assert.equal(log.filter(({ type }) => type === "model.responded").length, 0);
  const { usage } = (house.find("Session", scene.name)?.status ?? {}) as { readonly usage?: { readonly uncertainCostUSD?: string } };
  assert.ok(Number(usage?.uncertainCostUSD ?? 0) > 0, JSON.stringify(usage));
});

test("suspend and resume during a tool call: the call runs once to its end and the session goes on", async () => {
  const scene = scenes.make("blinked", (bash) => [{ calls: [call("bash", bash("a"))] }], { held: ["a"] });
  await until(() => scene.marks("a") === 1);
  scene.edit({ suspend: true });
  await scene.seen("session.suspended");
  scene.edit({ suspend: false });
  await scene.seen("session.resumed");
  scene.release("a");
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual([await results(scene), scene.marks("a"), (await scene.of("tool.started")).length], [{ "root/1/0": "ok" }, 1, 1]);
});

test("suspend during a tool call: its result is recorded, nothing new begins and no pod is kept until it is resumed", async () => {
  const scene = scenes.make("paused", (bash) => [{ calls: [call("bash", bash("a"))] }], { held: ["a"] });
  await until(() => scene.marks("a") === 1);
  scene.edit({ suspend: true });
  await scene.seen("session.suspended");
  scene.release("a");
  await scene.seen("run.waiting", ({ data }) => data.for === "resume");
  await scene.resting();
  assert.deepEqual([await results(scene), (await scene.of("model.requested")).length], [{ "root/1/0": "ok" }, 1]);
  scene.edit({ suspend: false });
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual([scene.marks("a"), (await scene.of("tool.started")).length], [1, 1]);
});

test("a message that lands just before run.waiting: it is answered, not slept through", async () => {
  let isSaid = false;
  const scene: Scene = scenes.make("awake", () => [], {
    spec: { mode: "Conversation" },
    hooks: {
      question: async (_pod, { phase, events }) => {
        if (isSaid || phase !== "before" || !events.some((event) => isOf(event, "run.waiting"))) return;
        isSaid = true;
        assert.equal((await scene.say("input.received", { content: "One more thing." }, "more"))?.status, 200);
      },
    },
  });
  const waiting = await scene.seen("run.waiting");
  const log = await scene.log();
  const said = log.find(({ type, role }) => type === "input.received" && role === "person");
  assert.ok(said !== undefined && said.seq < waiting.seq, types(log));
  assert.equal(log.filter(({ type, seq }) => type === "model.responded" && seq > said.seq && seq < waiting.seq).length, 1);
  await scene.resting();
  scene.edit({ cancel: true });
  assert.equal(await scene.ended(), "Cancelled");
});

test("an append whose answer is lost is repeated: the log has it once, and so has the world", async () => {
  let isLost = false;
  const scene = scenes.make("lossy", (bash) => [{ calls: [call("bash", bash("a"))] }], {
    hooks: {
      question: async (_pod, { phase, events }) => {
        if (isLost || phase !== "before" || !events.some((event) => isOf(event, "tool.started"))) return;
        isLost = true;
        house.wires.runners.loseNextAnswers();
      },
    },
  });
  assert.equal(await scene.ended(), "Completed");
  assert.equal(isLost, true);
  assert.deepEqual([await results(scene), scene.marks("a"), (await scene.of("tool.started")).length], [{ "root/1/0": "ok" }, 1, 1]);
  assert.deepEqual(scene.podNames().filter((name) => name.startsWith("r")), ["r1"]);
});

test("a runner that connects before it is registered is held, and begins as soon as it is", async () => {
  const { api, wires } = house;
  // The pod is made when the gateway cannot be told of it any more.
  api.failNext(/^POST .*\/pods$/, 500);
  const asked = podsAsked();
  const scene = scenes.make("early", () => []);
  await until(() => podsAsked() > asked);
  wires.operator.setMode("refuse");
  const connections = wires.runners.accepted();
  await until(() => scene.podNames().length === 1 && wires.runners.accepted() > connections);
  assert.deepEqual(types(await scene.log()), "session.bound input.received");
  wires.operator.setMode("pass");
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual([scene.podNames(), (await scene.of("runner.started")).map(({ data }) => data.epoch)], [["r1"], [1]]);
});

const podsAsked = (): number => house.api.requests.filter((line) => /^POST .*\/pods$/.test(line)).length;

test("an old runner that comes back after its node was cut off finds itself fenced, and its command ended", async () => {
  const scene = scenes.make("cutoff", (bash) => [{ calls: [call("bash", bash("a"))] }, { calls: [call("bash", bash("b"))] }], { held: ["a", "b"] });
  await until(() => scene.marks("a") === 1);
  const old = scene.pod("runner");
  assert.ok(old !== undefined);
  old.freeze();
  old.cutOff();
  // The new one has taken the sandbox over and goes on in it.
  await until(() => scene.marks("b") === 1);
  assert.deepEqual(await results(scene), { "root/1/0": "indeterminate" });
  old.thaw();
  await until(() => !old.isAlive());
  scene.release("a");
  scene.release("b");
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual([await results(scene), scene.marks("a"), scene.marks("b")], [{ "root/1/0": "indeterminate", "root/2/0": "ok" }, 1, 1]);
  assert.deepEqual(scene.podNames(), ["r1", "s1", "r2"]);
  const epochs = (await scene.log()).filter(({ role }) => role === "runner").map(({ epoch }) => epoch ?? 0);
  assert.deepEqual(epochs, epochs.toSorted((a, b) => a - b));
});

test("a Session deleted while it waits: its run is cancelled, its Approval and pods are gone, its log stays", async () => {
  const scene = scenes.make("deleted", () => ASKED);
  await scene.seen("run.waiting");
  await scene.resting();
  await until(() => house.find("Approval", "deleted-a1-0") !== undefined);
  house.remove("Session", "deleted");
  const end = await scene.seen("run.finished");
  assert.deepEqual([end.data.outcome, end.role], ["Cancelled", "operator"]);
  assert.deepEqual(await results(scene), {});
  await until(() => house.find("Approval", "deleted-a1-0") === undefined);
  assert.deepEqual(scene.podNames(), ["r1"]);
});

test("the same name created again: two sessions, two logs, and a decision on the one is none on the other", async () => {
  const first = scenes.make("twin", () => ASKED);
  await first.seen("run.waiting");
  await first.resting();
  house.remove("Session", "twin");
  const second = scenes.make("twin", () => ASKED);
  await second.decide("root/1/0", "Approved");
  assert.equal(await second.ended(), "Completed");
  await first.seen("run.finished");
  assert.deepEqual([await results(first), await results(second)], [{}, { "root/1/0": "ok" }]);
  assert.deepEqual([(await first.of("approval.resolved")).length, (await second.of("approval.resolved")).length], [0, 1]);
  assert.equal((await second.of("run.finished"))[0]?.data.text, DONE);
});

test("a custom result sent twice at the same moment is one result; another one is refused", async () => {
  const scene = scenes.make("noted", () => NOTED);
  await scene.seen("run.waiting", ({ data }) => data.for === "tool");
  await scene.resting();
  const result = { call: "root/1/0", status: "ok", content: "note 7" };
  const replies = await Promise.all(Array.from({ length: 4 }, () => scene.say("tool.finished", result)));
  const seqs = replies.map((reply) => (reply?.body as { readonly event?: LogEvent } | undefined)?.event?.seq);
  assert.deepEqual([replies.map((reply) => reply?.status), new Set(seqs).size], [[200, 200, 200, 200], 1]);
  assert.equal((await scene.say("tool.finished", { ...result, content: "note 8" }))?.status, 409);
  assert.equal(await scene.ended(), "Completed");
  assert.deepEqual((await scene.of("tool.finished")).map(({ data }) => data.content), ["note 7"]);
  assert.equal((await scene.of("tool.started")).length, 1);
});

test("a store restored from an old backup: the session is LogLost, and nothing runs again", async () => {
  const scene = scenes.make("restored", (bash) => [{ calls: [call("bash", bash("a"))] }, ...NOTED], { held: ["a"] });
  await scene.seen("tool.decided");
  await until(() => scene.marks("a") === 1);
  await house.gateway.down();
  house.gateway.backUp();
  house.gateway.start();
  scene.release("a");
  await scene.seen("run.waiting");
  await scene.resting();
  await until(() => conditionOf("restored", "AwaitingInput"));
  await house.gateway.down();
  house.gateway.restore();
  house.gateway.start();
  assert.equal(await scene.ended(), "LogLost");
  const pods = scene.podNames();
  await until(async () => (await scene.of("run.finished")).length === 1);
  assert.deepEqual([scene.marks("a"), pods, scene.podNames()], [1, ["r1", "s1"], ["r1", "s1"]]);
  // The gateway that has come back serves others.
  assert.equal(await scenes.make("afterwards", () => []).ended(), "Completed");
});

function conditionOf(name: string, type: string): boolean {
  const { conditions = [] } = (house.find("Session", name)?.status ?? {}) as { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  return conditions.some((condition) => condition.type === type && condition.status === "True");
}
