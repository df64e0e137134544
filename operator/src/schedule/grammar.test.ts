import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { buildCrd } from "@paddock/api/schema/crd";
import { parseTicks } from "./cron.ts";

// The CRD's rules for spec.schedule, run as the API server runs them. What they let through must be readable, and what a CronJob has no word
// for must not get through.

const field = buildCrd("Schedule").spec.versions[0].schema.openAPIV3Schema.properties?.spec?.properties?.schedule;
const rules = (field?.["x-kubernetes-validations"] ?? []).map(({ rule }) => rule.split(" || ").map(readTerm));

/** One term of a rule: `matches` and `contains` over literals are all there is. */
function readTerm(term: string): (text: string) => boolean {
  const [, negation, method, literal = ""] = /^(!?)self\.(matches|contains)\('(.*)'\)$/.exec(term) ?? [];
  assert.ok(method, term);
  const argument = literal.replaceAll("\\\\", "\\");
  const pattern = new RegExp(argument);
  return (text) => pattern.test(text) !== (negation === "!");
}

function isAccepted(expression: string): boolean {
  return rules.every((terms) => terms.some((holds) => holds(expression)));
}

const RANGES = [{ low: 0, high: 59 }, { low: 0, high: 23 }, { low: 1, high: 31 }, { low: 1, high: 12 }, { low: 0, high: 7 }] as const;
const arbitraryField = ({ low, high }: { readonly low: number; readonly high: number }): fc.Arbitrary<string> => {
  const value = fc.integer({ min: low, max: high });
  const item = fc.oneof(
    fc.constant("*"),
    value.map(String),
    fc.tuple(value, value).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
    fc.integer({ min: 1, max: Math.min(high, 59) }).map((step) => `*/${step}`),
    fc.tuple(value, value, fc.integer({ min: 1, max: high })).map(([a, b, step]) => `${Math.min(a, b)}-${Math.max(a, b)}/${step}`),
    fc.tuple(fc.integer({ min: low, max: high - 1 }), fc.integer({ min: 1, max: high })).map(([a, step]) => `${a}/${step}`),
  );
  return fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(","));
};

describe("what is accepted at apply", () => {
  it("is ruled by two rules for the whole, two for each of five fields and one for days that no year has", () => {
    assert.equal(rules.length, 13);
  });

  it("is every expression of CronJob's grammar, and each of them can be read", () => {
    fc.assert(
      fc.property(fc.tuple(...RANGES.map(arbitraryField)), (fields) => {
        const expression = fields.join(" ");
        const reading = parseTicks(expression, "UTC");
        assert.ok("ticks" in reading, expression);
        // What never fires may be refused, and nothing else.
        assert.ok(isAccepted(expression) || reading.ticks.next(0) === undefined, expression);
      }),
      { numRuns: 300 },
    );
  });

  it("is nothing that cannot be read, whatever is typed", () => {
    const typed = fc.array(fc.constantFrom("*", "/", "-", ",", "0", "1", "5", "9", "31", "60", "7", "L", "W", "?", "#", "MON", "sun", "Jan", "DEC"), { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.tuple(typed, typed, typed, typed, typed), (fields) => {
        const expression = fields.join(" ");
        if (isAccepted(expression)) assert.ok("ticks" in parseTicks(expression, "UTC"), expression);
      }),
      { numRuns: 3000 },
    );
  });

  for (const expression of ["0 6 * * 1-5", "00 06 01 01 0", "*/15 2,3 1-7/2 JAN-mar MON-FRI", "5/15 * * * *", "0 0 * * SAT-SUN", "0 0 * * 5-7", "59 23 31 12 7", "0 0 * feb,DEC sun"]) {
    it(`takes ${expression}`, () => {
      assert.ok(isAccepted(expression));
      assert.ok("ticks" in parseTicks(expression, "Europe/Berlin"));
    });
  }

  for (const expression of [
    "61 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * 0 *", "* * * * 8", "*/0 * * * *", "*/60 * * * *", "* */24 * * *",
    "5-1 * * * *", "59-58 * * * *", "* 23-0 * * *", "* * 31-30 * *", "* * * DEC-JAN *", "* * * 12-MAR *", "* * * * FRI-MON", "* * * * 7-6", "* * * * 5-0", "1,9-3,4 * * * *", "* * 10-2/3 * *",
    "* * L * *", "* * 15W * *", "* * ? * *", "* * * * 1#2", "* * * * 5L", "H * * * *", "-1 * * * *", "1- * * * *", ", * * * *", "1,,2 * * * *", "** * * * *", "MON * * * *", "* * * MAY-X *",
  ]) {
    it(`refuses ${expression}`, () => assert.ok(!isAccepted(expression)));
  }
});
