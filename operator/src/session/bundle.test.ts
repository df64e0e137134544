import assert from "node:assert/strict";
import { test } from "node:test";
import { bundleSchema } from "@paddock/api/log/bundle";
import { digestOf } from "@paddock/api/log/canonical";
import { buildBundle, buildLimits } from "./bundle.ts";
import { START, agent, at, environment, session } from "./sample.ts";

const parts = { session: session(), agent, environment };

function limitsOf(session: object | undefined, agentLimits: object | undefined, ceiling: object | undefined): unknown {
  return buildLimits({
    session: { ...parts.session, spec: { ...parts.session.spec, ...(session === undefined ? {} : { limits: session }) } },
    agent: { ...agent, spec: { ...agent.spec, ...(agentLimits === undefined ? {} : { limits: agentLimits }) } },
    environment: { ...environment, spec: { ...environment.spec, ...(ceiling === undefined ? {} : { limits: ceiling }) } },
  });
}

test("effective limits are the tightest of Session, Agent and Environment, whose defaults are ceilings", () => {
  assert.deepEqual(limitsOf(undefined, undefined, undefined), { maxTurns: 100, timeoutSeconds: 3600 });
  assert.deepEqual(limitsOf({ maxTurns: 5, timeoutSeconds: 60 }, { maxTurns: 7 }, { maxTurns: 9, timeoutSeconds: 90 }), { maxTurns: 5, timeoutSeconds: 60 });
  assert.deepEqual(limitsOf({ maxTurns: 50, timeoutSeconds: 600 }, { maxTurns: 7 }, { maxTurns: 9, timeoutSeconds: 90 }), { maxTurns: 7, timeoutSeconds: 90 });
  assert.deepEqual(limitsOf({ maxTurns: 5000, timeoutSeconds: 100_000 }, undefined, undefined), { maxTurns: 100, timeoutSeconds: 3600 });
  assert.deepEqual(limitsOf({ maxTurns: 500 }, undefined, { maxTurns: 1000, timeoutSeconds: 7200 }), { maxTurns: 500, timeoutSeconds: 7200 });
});

test("money and tokens are limited only where somebody limits them, and money is compared as money", () => {
  const spending = (asked: object | undefined, ceiling: object | undefined): unknown => {
    const { maxTurns: _, timeoutSeconds: __, ...rest } = limitsOf(asked, undefined, ceiling) as Record<string, unknown>;
    return rest;
  };
  assert.deepEqual(spending(undefined, { costUSD: "2.00" }), { costUSD: "2.00" });
  assert.deepEqual(spending({ costUSD: "10" }, { costUSD: "2.50" }), { costUSD: "2.50" });
  assert.deepEqual(spending({ costUSD: "0.000000001" }, { costUSD: "9" }), { costUSD: "0.000000001" });
  assert.deepEqual(spending({ totalTokens: 900 }, { totalTokens: 1000, costUSD: "1" }), { totalTokens: 900, costUSD: "1" });
  assert.deepEqual(spending({ totalTokens: 900 }, undefined), { totalTokens: 900 });
});

test("a bundle is what the gateway takes, with the digests that status shows", () => {
  const bundle = buildBundle(parts, at(0));
  assert.deepEqual(bundleSchema.parse(bundle), bundle);
  assert.equal(bundle.startTime, START);
  assert.equal(bundle.agent.digest, digestOf(agent.spec));
  assert.equal(bundle.environment.digest, digestOf(environment.spec));
  assert.match(bundle.traceId, /^[0-9a-f]{32}$/);
});
