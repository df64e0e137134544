import assert from "node:assert/strict";
import { test } from "node:test";
import { parseProblem, problemTypeOf } from "./problem.ts";

const GOOD = { type: "https://paddock.dev/problems/fenced", title: "fenced", status: 403, detail: "stop" };

test("problem details are taken without what nobody knows, and nothing else is taken for them", () => {
  assert.deepEqual(parseProblem({ ...GOOD, refusal: "wait", more: 1 }), { ...GOOD, refusal: "wait" });
  assert.equal(problemTypeOf(GOOD), "fenced");
  assert.equal(problemTypeOf({ ...GOOD, type: "about:blank" }), undefined);
  for (const bad of [null, "x", [], {}, { ...GOOD, status: "403" }, { ...GOOD, detail: undefined }, { ...GOOD, refusal: "never" }]) assert.equal(parseProblem(bad), undefined);
});
