import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fault } from "../kernel/kind.ts";
import { decideEnvironment, explainEnvironment } from "./decide.ts";
import type { EnvironmentWorld } from "./observe.ts";
import { CREATED, complete, environment, told, world } from "./sample.ts";

const budgetOf = (costUSDPerDay?: string) => environment(costUSDPerDay === undefined ? {} : { budget: { costUSDPerDay } });
const proven = (limit: string | undefined, known: EnvironmentWorld["told"]): EnvironmentWorld => complete(told(budgetOf(limit), "Available"), { told: known });
const gateway = (costUSDPerDay?: string): EnvironmentWorld["told"] => ({ budget: { environmentUid: "environment-uid", ...(costUSDPerDay === undefined ? {} : { costUSDPerDay }) } });

function puts(observed: EnvironmentWorld): readonly unknown[] {
  return decideEnvironment(observed, new Date(CREATED)).actions.flatMap((action) => (action.verb === "budget" ? [[action.environmentUid, action.budget]] : []));
}

test("the live budget is told whenever the gateway has another, and then no more", () => {
  assert.deepEqual(puts(proven("50.00", { budget: undefined })), [["environment-uid", { costUSDPerDay: "50.00" }]]);
  assert.deepEqual(puts(proven("60", gateway("50.00"))), [["environment-uid", { costUSDPerDay: "60" }]]);
  assert.deepEqual(puts(proven("50.00", gateway("50.00"))), []);
  assert.deepEqual(puts(proven("50.00", gateway("50"))), [], "the same money in other words");
});

test("a budget that is taken away is told as none; where there never was one nothing is told", () => {
  assert.deepEqual(puts(proven(undefined, gateway("50.00"))), [["environment-uid", {}]]);
  assert.deepEqual(puts(proven(undefined, gateway())), []);
  assert.deepEqual(puts(proven(undefined, { budget: undefined })), []);
});

test("nothing is told while nobody knows what the gateway has", () => {
  assert.deepEqual(puts(proven("50.00", undefined)), []);
});

test("a lowered budget is told although the Environment is not Ready", () => {
  const self = budgetOf("1");
  assert.deepEqual(puts(complete(self, { told: gateway("50"), admission: { trusted: false, problems: [] } })), [["environment-uid", { costUSDPerDay: "1" }]]);
  const plan = decideEnvironment(world({ self, told: gateway("50") }), new Date(CREATED));
  assert.deepEqual(plan.actions.map(({ verb }) => verb), ["apply", "apply", "apply", "apply", "budget"]);
});

test("dry runs come first and alone: what they are answered is told apart from a gateway that is away", () => {
  const plan = decideEnvironment(complete(budgetOf("1")), new Date(CREATED));
  assert.deepEqual(plan.actions.map(({ verb }) => verb), ["preflight", "preflight"]);
  const fault: Fault = { kind: "unavailable", message: "PUT /v1/budgets at the gateway: no answer", retry: true, cause: undefined };
  assert.deepEqual(explainEnvironment(proven("1", { budget: undefined }), fault), [], "a Ready Environment stays Ready");
  assert.equal(explainEnvironment(complete(budgetOf("1")), fault)[0]?.reason, "Progressing");
});
