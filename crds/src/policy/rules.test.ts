import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { TOOL_NAMES } from "./tools.ts";
import type { ToolName } from "./tools.ts";
import { customToolOf, decideTool, fingerprintOf } from "./rules.ts";
import type { PolicyInput } from "./rules.ts";

interface Given {
  readonly customTools?: PolicyInput["agent"]["spec"]["customTools"];
  readonly tools?: PolicyInput["agent"]["spec"]["tools"];
  readonly permissions?: PolicyInput["environment"]["spec"]["permissions"];
  readonly provisioning?: "OnDemand" | "Never";
}

const note = { name: "post_note", description: "Post a note.", inputSchema: { type: "object" } };

function input({ tools, customTools, permissions, provisioning }: Given): PolicyInput {
  const sandbox = provisioning && { provisioning };
  return { agent: { digest: "sha256:a", spec: { tools, customTools } }, environment: { spec: { permissions, sandbox } } };
}

describe("may the agent call this tool", () => {
  const cases: readonly { readonly name: string; readonly given: Given; readonly tool: string; readonly decision: string; readonly rule: RegExp }[] = [
    { name: "listed", given: { tools: [{ name: "bash" }] }, tool: "bash", decision: "Allow", rule: /^agent\.spec\.tools allows bash$/ },
    { name: "not listed", given: { tools: [{ name: "read" }] }, tool: "bash", decision: "Deny", rule: /does not list bash/ },
    { name: "no list", given: {}, tool: "bash", decision: "Deny", rule: /does not list bash/ },
    { name: "denied by the agent", given: { tools: [{ name: "bash", permission: "Deny" }] }, tool: "bash", decision: "Deny", rule: /agent\.spec\.tools denies bash/ },
    { name: "the floor denies what the agent allows", given: { tools: [{ name: "bash", permission: "Allow" }], permissions: [{ tool: "bash", decision: "Deny" }] }, tool: "bash", decision: "Deny", rule: /environment\.spec\.permissions denies bash/ },
    { name: "the floor allows what the agent denies", given: { tools: [{ name: "bash", permission: "Deny" }], permissions: [{ tool: "bash", decision: "Allow" }] }, tool: "bash", decision: "Deny", rule: /agent\.spec\.tools denies bash/ },
    { name: "both allow", given: { tools: [{ name: "bash" }], permissions: [{ tool: "bash", decision: "Allow" }] }, tool: "bash", decision: "Allow", rule: /permissions and agent\.spec\.tools allow bash/ },
    { name: "the floor is about another tool", given: { tools: [{ name: "bash" }], permissions: [{ tool: "read", decision: "Deny" }] }, tool: "bash", decision: "Allow", rule: /allows bash/ },
    { name: "no sandbox", given: { tools: [{ name: "bash" }], provisioning: "Never" }, tool: "bash", decision: "Deny", rule: /provisioning is Never/ },
    { name: "asked for by the agent", given: { tools: [{ name: "bash", permission: "Ask" }] }, tool: "bash", decision: "Ask", rule: /^agent\.spec\.tools asks for bash$/ },
    { name: "the floor asks for what the agent allows", given: { tools: [{ name: "bash" }], permissions: [{ tool: "bash", decision: "Ask" }] }, tool: "bash", decision: "Ask", rule: /^environment\.spec\.permissions asks for bash$/ },
    { name: "the floor allows what the agent asks for", given: { tools: [{ name: "bash", permission: "Ask" }], permissions: [{ tool: "bash", decision: "Allow" }] }, tool: "bash", decision: "Ask", rule: /agent\.spec\.tools asks for bash/ },
    { name: "the floor asks for what the agent denies", given: { tools: [{ name: "bash", permission: "Deny" }], permissions: [{ tool: "bash", decision: "Ask" }] }, tool: "bash", decision: "Deny", rule: /agent\.spec\.tools denies bash/ },
    { name: "the floor denies what the agent asks for", given: { tools: [{ name: "bash", permission: "Ask" }], permissions: [{ tool: "bash", decision: "Deny" }] }, tool: "bash", decision: "Deny", rule: /environment\.spec\.permissions denies bash/ },
    { name: "the floor asks for what the agent does not list", given: { permissions: [{ tool: "bash", decision: "Ask" }] }, tool: "bash", decision: "Deny", rule: /does not list bash/ },
    { name: "asked for without a sandbox", given: { tools: [{ name: "bash", permission: "Ask" }], provisioning: "Never" }, tool: "bash", decision: "Deny", rule: /provisioning is Never/ },
    { name: "a custom tool", given: { customTools: [note] }, tool: "post_note", decision: "Allow", rule: /^agent\.spec\.customTools allows post_note$/ },
    { name: "a custom tool without a sandbox", given: { customTools: [note], provisioning: "Never" }, tool: "post_note", decision: "Allow", rule: /customTools allows/ },
    { name: "a custom tool that is asked for", given: { customTools: [{ ...note, permission: "Ask" }] }, tool: "post_note", decision: "Ask", rule: /^agent\.spec\.customTools asks for post_note$/ },
    { name: "a custom tool with the name of a built-in one", given: { customTools: [{ ...note, name: "bash" }] }, tool: "bash", decision: "Deny", rule: /agent\.spec\.tools does not list bash/ },
    { name: "no such tool", given: { tools: [{ name: "bash" }] }, tool: "fetch", decision: "Deny", rule: /no tool is called "fetch"/ },
    { name: "a name that objects inherit", given: { tools: [{ name: "bash" }] }, tool: "constructor", decision: "Deny", rule: /no tool is called "constructor"/ },
    { name: "a name without end", given: {}, tool: "x".repeat(9999), decision: "Deny", rule: /^no tool is called "x{64}"$/ },
  ];
  for (const { name, given, tool, decision, rule } of cases) {
    it(name, () => {
      const verdict = decideTool(input(given), tool);
      assert.equal(verdict.decision, decision);
      assert.match(verdict.rule, rule);
    });
  }

  it("an unknown tool has the most careful effect", () => {
    assert.equal(decideTool(input({}), "fetch").effect, "Once");
    assert.equal(decideTool(input({ tools: [{ name: "read" }] }), "read").effect, "Pure");
  });

  const toolName = fc.constantFrom<ToolName>(...TOOL_NAMES);
  const choice = fc.constantFrom<"Allow" | "Ask" | "Deny">("Allow", "Ask", "Deny");
  const tools = fc.uniqueArray(fc.record({ name: toolName, permission: fc.option(choice, { nil: undefined }) }), { selector: ({ name }) => name });
  const permissions = fc.uniqueArray(fc.record({ tool: toolName, decision: choice }), { selector: ({ tool }) => tool });

  const strictness = ["Allow", "Ask", "Deny"];

  it("is the strictest of what the agent and the Environment say, and Deny for what the agent does not list", () => {
    fc.assert(fc.property(tools, permissions, toolName, (listed, floor, name) => {
      const entry = listed.find((candidate) => candidate.name === name);
      const said = [entry === undefined ? "Deny" : (entry.permission ?? "Allow"), floor.find(({ tool }) => tool === name)?.decision ?? "Allow"];
      const strictest = Math.max(...said.map((decision) => strictness.indexOf(decision)));
      assert.equal(decideTool(input({ tools: listed, permissions: floor }), name).decision, strictness[strictest]);
    }));
  });

  it("gives an agent nothing more when an Environment adds a permission", () => {
    fc.assert(fc.property(tools, permissions, toolName, (listed, floor, name) => {
      const without = decideTool(input({ tools: listed }), name).decision;
      const withFloor = decideTool(input({ tools: listed, permissions: floor }), name).decision;
      assert.ok(strictness.indexOf(withFloor) >= strictness.indexOf(without));
    }));
  });

  it("starts a custom tool once, whatever it is", () => {
    assert.equal(decideTool(input({ customTools: [note] }), "post_note").effect, "Once");
    assert.equal(customToolOf(input({ customTools: [note] }), "post_note"), note);
    assert.equal(customToolOf(input({ customTools: [{ ...note, name: "bash" }] }), "bash"), undefined);
  });
});

describe("the fingerprint of a call", () => {
  const policy = input({ tools: [{ name: "bash" }] });
  const base = fingerprintOf(policy, "bash", { command: "ls", timeoutSeconds: 5 });

  it("does not depend on the order of arguments", () => {
    assert.equal(fingerprintOf(policy, "bash", { timeoutSeconds: 5, command: "ls" }), base);
  });

  it("changes with the agent, the tool and each argument", () => {
    const others = [
      fingerprintOf({ ...policy, agent: { ...policy.agent, digest: "sha256:b" } }, "bash", { command: "ls", timeoutSeconds: 5 }),
      fingerprintOf(policy, "read", { command: "ls", timeoutSeconds: 5 }),
      fingerprintOf(policy, "bash", { command: "ls " , timeoutSeconds: 5 }),
      fingerprintOf(policy, "bash", { command: "ls" }),
    ];
    assert.equal(new Set([base, ...others]).size, 5);
  });

  it("changes with a custom tool's definition", () => {
    const of = (change: object): string => fingerprintOf(input({ customTools: [{ ...note, ...change }] }), "post_note", {});
    const all = [of({}), of({ description: "Post it." }), of({ inputSchema: { type: "object", required: ["text"] } })];
    assert.equal(new Set(all).size, 3);
    assert.equal(of({ permission: "Ask", timeoutSeconds: 5 }), of({}), "who decides is not what is decided");
  });
});
