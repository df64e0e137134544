import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spellings } from "./areas/proxy-cases.ts";
import { buildMap, loadProgram, parseResult } from "./program.ts";
import { ATTACKS, pick } from "./suite.ts";

describe("the suite", () => {
  it("has an attack once", () => {
    const names = ATTACKS.map(({ area, name }) => `${area} ${name}`);
    assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
  });

  it("is picked by area or by a part of a name, and says what there is otherwise", () => {
    assert.ok(pick("escape").every(({ area }) => area === "escape"));
    assert.deepEqual(pick("metadata address, from a sandbox").map(({ area }) => area), ["network"]);
    assert.equal(pick(undefined), ATTACKS);
    assert.throws(() => pick("nothing like it"), /--only is "nothing like it": say one of network, runner/);
  });
});

describe("a program", () => {
  it("is plain JavaScript by the time it is in a pod, and is run because a file says so", () => {
    const program = loadProgram("reach.ts", { targets: [] });
    assert.doesNotMatch(program.text, /interface Target/);
    const map = buildMap("reach", program) as { data: Record<string, string> };
    assert.match(map.data["README.md"] ?? "", /Run this: node attack\.mjs request\.json$/m);
    assert.deepEqual(Object.keys(map.data), ["README.md", "attack.mjs", "request.json"]);
  });

  it("reports in its last line, whatever it printed before", () => {
    assert.deepEqual(parseResult('noise\nRESULT {"a":1}\n'), { a: 1 });
    assert.equal(parseResult("noise"), undefined);
  });
});

describe("an address", () => {
  it("has spellings that all mean the same", () => {
    assert.deepEqual(spellings("10.0.1.255"), {
      "as it is": "10.0.1.255", "as one number": "167772671", "in hexadecimal": "0xa0001ff", "in octal": "012.00.01.0377", "as IPv6": "[::ffff:10.0.1.255]", "with a dot behind": "10.0.1.255.",
    });
  });
});
