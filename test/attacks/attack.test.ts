import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { describeJudged, describeSummary, isGood, judge, judgeError } from "./attack.ts";
import type { Attack, Outcome } from "./attack.ts";

const never = (): Promise<Outcome> => Promise.reject(new Error("not run here"));
const attack: Attack = { area: "network", name: "metadata address from a sandbox", attempt: never, control: never };
const yes = { succeeded: true, how: "reached" };
const no = { succeeded: false, how: "silent" };
const clean = { strayArrivals: [], findings: [] };

describe("an attack", () => {
  it("is refused only when its control succeeded", () => {
    assert.equal(judge(attack, no, yes).verdict, "refused");
    assert.equal(judge(attack, no, no).verdict, "UNPROVEN");
    assert.equal(judge(attack, yes, yes).verdict, "SUCCEEDED");
    assert.equal(judge(attack, yes, no).verdict, "SUCCEEDED");
    assert.equal(judgeError(attack, new Error("no cluster")).verdict, "UNPROVEN");
  });

  it("is a line, in plain characters whatever was printed", () => {
    assert.match(describeJudged(judge(attack, no, yes)), /^refused {4}network {6}metadata address from a sandbox +\(control: reached\)$/);
    assert.match(describeJudged(judge(attack, no, no)), /^UNPROVEN .*\(control did not succeed: silent; attempt: silent\)$/);
    assert.doesNotMatch(describeJudged(judge(attack, { succeeded: true, how: "a\u001b[31m\nb" }, yes)), /[^ -~]/);
  });
});

describe("the summary", () => {
  const refused = judge(attack, no, yes);
  it("counts, and tells of sinks and scan", () => {
    assert.equal(describeSummary([refused, refused], clean), "2 attacks, 2 refused, 2 controls succeeded, sinks silent, canary scan clean");
    assert.equal(describeSummary([refused, judge(attack, no, no)], { strayArrivals: ["x"], findings: ["y", "z"] }), "2 attacks, 1 refused, 1 controls succeeded, SINKS SAW 1, CANARY SCAN FOUND 2");
    assert.equal(describeSummary([refused, { ...refused, verdict: "skipped", controlled: false }], { strayArrivals: undefined, findings: undefined }), "1 attacks, 1 refused, 1 controls succeeded, 1 skipped, no sink, no canary scan");
  });

  it("is good only when all of it is", () => {
    assert.ok(isGood([refused], clean));
    assert.ok(!isGood([], clean), "nothing tried proves nothing");
    assert.ok(!isGood([refused, judge(attack, yes, yes)], clean));
    assert.ok(!isGood([refused, judge(attack, no, no)], clean));
    assert.ok(!isGood([refused], { ...clean, strayArrivals: ["x"] }));
    assert.ok(!isGood([refused], { ...clean, findings: ["x"] }));
  });
});
