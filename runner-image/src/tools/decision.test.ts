import assert from "node:assert/strict";
import { test } from "node:test";
import { decideTool, fingerprintOf } from "@paddock/api/policy/rules";
import { BUNDLE } from "../testdata/view.ts";
import { decideCall, parseArguments } from "./decision.ts";
import { timeoutOf } from "./run.ts";

const decide = (name: string, argumentsText: string): ReturnType<typeof decideCall> => decideCall(BUNDLE, { call: "root/1/0", name, argumentsText });

test("a valid call of an allowed tool is decided with its fingerprint", async () => {
  const args = { command: "ls", timeoutSeconds: 5 };
  assert.deepEqual(await decide("bash", JSON.stringify(args)), {
    type: "tool.decided",
    data: { call: "root/1/0", tool: "bash", arguments: args, effect: "Once", decision: "Allow", fingerprint: fingerprintOf(BUNDLE, "bash", args), rule: decideTool(BUNDLE, "bash").rule },
  });
});

test("a tool that the agent denies or does not list is denied", async () => {
  for (const [name, text] of [["glob", '{"pattern":"*"}'], ["grep", '{"pattern":"x"}']] as const) {
    const event = await decide(name, text);
    assert.ok(event.type === "tool.decided" && event.data.decision === "Deny");
    assert.match(event.data.rule, /agent\.spec\.tools/);
  }
});

test("unknown tools and bad arguments become results that the model can repair", async () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["constructor", "{}", /No tool is called "constructor"\. The tools are: bash/],
    ["bash", "[]", /not a JSON object/],
    ["bash", '{"command":', /not a JSON object/],
    ["bash", "{}", /command/],
    ["bash", '{"command":"ls","cwd":"/"}', /cwd/],
    ["read", '{"path":7}', /path/],
  ];
  for (const [name, text, words] of cases) {
    const event = await decide(name, text);
    assert.ok(event.type === "tool.finished" && event.data.status === "error", name);
    assert.match(event.data.content, words);
  }
});

test("arguments that no log can hold become a result that the model can repair", async () => {
  const { spec } = BUNDLE.agent;
  const bundle = { ...BUNDLE, agent: { ...BUNDLE.agent, spec: { ...spec, customTools: [{ name: "post_note", description: "Posts a note.", inputSchema: {} }] } } };
  for (const value of ["1e400", "[-1e999]", `${"[".repeat(100)}${"]".repeat(100)}`, `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`]) {
    const event = await decideCall(bundle, { call: "root/1/0", name: "post_note", argumentsText: `{"x":${value}}` });
    assert.ok(event.type === "tool.finished" && event.data.status === "error", value.slice(0, 20));
    assert.match(event.data.content, /nested deeper than 48 levels or hold a number/);
  }
  const event = await decideCall(bundle, { call: "root/1/0", name: "post_note", argumentsText: `{"x":${"[".repeat(40)}1e300${"]".repeat(40)}}` });
  assert.equal(event.type, "tool.decided");
});

test("a schema that never comes to an end, or tells its faults later, is a fault of its calls", async () => {
  const { spec } = BUNDLE.agent;
  for (const inputSchema of [{ $ref: "#" }, { $async: true, required: ["x"] }]) {
    const bundle = { ...BUNDLE, agent: { ...BUNDLE.agent, spec: { ...spec, customTools: [{ name: "post_note", description: "Posts a note.", inputSchema }] } } };
    const event = await decideCall(bundle, { call: "root/1/0", name: "post_note", argumentsText: "{}" });
    assert.ok(event.type === "tool.finished" && event.data.status === "error");
    assert.match(event.data.content, /inputSchema of post_note/);
  }
});

test("an empty text is an empty object", () => {
  assert.deepEqual(parseArguments(" "), {});
  assert.equal(parseArguments("null"), undefined);
});

test("a call has the time it asks for or its tool's, never more than the session has left", () => {
  assert.equal(timeoutOf({ tool: "bash", arguments: {} }, 9999), 120);
  assert.equal(timeoutOf({ tool: "read", arguments: {} }, 9999), 60);
  assert.equal(timeoutOf({ tool: "bash", arguments: { timeoutSeconds: 600 } }, 9999), 600);
  assert.equal(timeoutOf({ tool: "bash", arguments: { timeoutSeconds: 600 } }, 30.2), 31);
  assert.equal(timeoutOf({ tool: "bash", arguments: {} }, -5), 1);
});
