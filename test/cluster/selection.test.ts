import assert from "node:assert/strict";
import { test } from "node:test";
import { decideProvider } from "./selection.ts";
import type { Surroundings } from "./selection.ts";

const nothing: Surroundings = { dockerAnswers: false, hasKind: false, isRoot: false, isDebian: false, hasGo: false };
const debian: Surroundings = { ...nothing, isRoot: true, isDebian: true, hasGo: true };

test("a given kubeconfig wins over everything else", () => {
  assert.equal(decideProvider({ ...debian, dockerAnswers: true, hasKind: true, kubeconfig: "/k" }), "existing");
});

test("kind wins over the machine itself, if Docker answers", () => {
  assert.equal(decideProvider({ ...debian, dockerAnswers: true, hasKind: true }), "kind");
  assert.equal(decideProvider({ ...debian, dockerAnswers: false, hasKind: true }), "host");
  assert.equal(decideProvider({ ...debian, dockerAnswers: true, hasKind: false }), "host");
});

test("PADDOCK_CLUSTER forces a provider, and says what it lacks", () => {
  assert.equal(decideProvider({ ...debian, kubeconfig: "/k", forced: "host" }), "host");
  assert.throws(() => decideProvider({ ...debian, forced: "kind" }), /kind: no Docker daemon answers.*kind is not on PATH/);
  assert.throws(() => decideProvider({ ...debian, forced: "existing" }), /set KUBECONFIG/);
  assert.throws(() => decideProvider({ ...debian, forced: "minikube" }), /PADDOCK_CLUSTER is minikube; it must be one of existing, kind, host/);
});

test("without any way, each way's missing pieces are named", () => {
  assert.throws(() => decideProvider(nothing), (error: Error) => {
    assert.match(error.message, /existing: set KUBECONFIG/);
    assert.match(error.message, /kind: no Docker daemon answers/);
    assert.match(error.message, /host: .*not a Debian.*needs root.*Go is not on PATH/);
    return true;
  });
});
