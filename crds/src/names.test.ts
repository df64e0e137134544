import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { LABELS, environmentPolicyName, ownerReference, runnerPodName, sandboxPodName, shorten, traceIdOf } from "./names.ts";

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const alphanumeric = fc.constantFrom("a", "b", "z", "0", "1", "9");
const inner = fc.string({ unit: fc.constantFrom("a", "b", "0", "-", "."), maxLength: 240 });
/** Any name the API server takes for an object, short and long. */
const objectName = fc
  .tuple(alphanumeric, inner, alphanumeric)
  .map((parts) => parts.join(""))
  .filter((name) => DNS_SUBDOMAIN.test(name));

describe("names of pods", () => {
  it("are the session's with a suffix when they fit", () => {
    assert.deepEqual([runnerPodName("notes", 2), sandboxPodName("notes", 1)], ["notes-r2", "notes-s1"]);
  });

  it("are DNS labels of at most 63 characters, whatever the session is called", () => {
    fc.assert(fc.property(objectName, fc.integer({ min: 1, max: 99_999 }), (session, n) => {
      for (const name of [runnerPodName(session, n), sandboxPodName(session, n)]) assert.ok(name.length <= 63 && DNS_LABEL.test(name), name);
    }));
  });

  it("differ for different sessions, attempts and components", () => {
    fc.assert(fc.property(fc.uniqueArray(objectName, { maxLength: 20 }), (sessions) => {
      const names = sessions.flatMap((session) => [runnerPodName(session, 1), runnerPodName(session, 11), sandboxPodName(session, 1)]);
      assert.equal(new Set(names).size, names.length);
    }));
  });

  it("tell a.b from a-b, and long names by their ends", () => {
    const long = "x".repeat(250);
    const names = ["a.b", "a-b", `${long}1`, `${long}2`].map((session) => runnerPodName(session, 1));
    assert.equal(new Set(names).size, 4);
  });
});

describe("shortening", () => {
  it("leaves what fits and keeps the start of what does not", () => {
    assert.equal(shorten("x".repeat(63)), "x".repeat(63));
    assert.match(shorten("x".repeat(64)), /^x{52}-[0-9a-f]{10}$/);
  });

  it("gives label values, different for different names", () => {
    fc.assert(fc.property(fc.uniqueArray(objectName, { maxLength: 20 }), (names) => {
      const values = names.map((name) => shorten(name));
      assert.equal(new Set(values).size, names.length);
      for (const value of values) assert.ok(value.length <= 63 && LABEL_VALUE.test(value), value);
    }));
  });

  it("gives names of policies that the API server takes", () => {
    fc.assert(fc.property(objectName, (environment) => {
      const name = environmentPolicyName(environment, "sandbox");
      assert.ok(name.length <= 253 && DNS_SUBDOMAIN.test(name), name);
      assert.notEqual(name, environmentPolicyName(environment, "runner"));
    }));
  });
});

describe("identities", () => {
  it("of traces are 32 hexadecimal digits, one per session", () => {
    assert.match(traceIdOf("5a1f"), /^[0-9a-f]{32}$/);
    assert.equal(traceIdOf("5a1f"), traceIdOf("5a1f"));
    assert.notEqual(traceIdOf("5a1f"), traceIdOf("5a20"));
  });

  it("of owners control without blocking the owner's deletion", () => {
    const owner = { apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata: { name: "s", uid: "u" } };
    assert.deepEqual(ownerReference(owner), { apiVersion: "paddock.dev/v1alpha1", kind: "Session", name: "s", uid: "u", controller: true });
  });

  it("of labels are ours, but for the one that Kubernetes shares", () => {
    const foreign = Object.values(LABELS).filter((label) => !label.startsWith("paddock.dev/"));
    assert.deepEqual(foreign, ["app.kubernetes.io/managed-by"]);
  });
});
