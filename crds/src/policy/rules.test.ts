import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { TOOL_NAMES } from "./tools.ts";
import type { ToolName } from "./tools.ts";
import { decideTool, fingerprintOf } from "./rules.ts";
import type { PolicyInput } from "./rules.ts";

interface Given {
  readonly tools?: PolicyInput["agent"]["spec"]["tools"];
  readonly permissions?: PolicyInput["environment"]["spec"]["permissions"];
  readonly provisioning?: "OnDemand" | "Never";
}

function input({ tools, permissions, provisioning }: Given): PolicyInput {
  const sandbox = provisioning && { provisioning };
  return { agent: { digest: "sha256:a", spec: { tools } }, environment: { spec: { permissions, sandbox } } };
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
  const choice = fc.constantFrom<"Allow" | "Deny">("Allow", "Deny");
  const tools = fc.uniqueArray(fc.record({ name: toolName, permission: fc.option(choice, { nil: undefined }) }), { selector: ({ name }) => name });
  const permissions = fc.uniqueArray(fc.record({ tool: toolName, decision: choice }), { selector: ({ tool }) => tool });

  it("allows only what the agent lists and neither side denies", () => {
    fc.assert(fc.property(tools, permissions, toolName, (listed, floor, name) => {
      const entry = listed.find((candidate) => candidate.name === name);
      const denied = entry?.permission === "Deny" || floor.some(({ tool, decision }) => tool === name && decision === "Deny");
      assert.equal(decideTool(input({ tools: listed, permissions: floor }), name).decision, entry !== undefined && !denied ? "Allow" : "Deny");
    }));
  });

  it("gives an agent nothing more when an Environment adds a permission", () => {
    fc.assert(fc.property(tools, permissions, toolName, (listed, floor, name) => {
      const without = decideTool(input({ tools: listed }), name).decision;
      const withFloor = decideTool(input({ tools: listed, permissions: floor }), name).decision;
      assert.ok(without === "Allow" || withFloor === "Deny");
    }));
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
});
