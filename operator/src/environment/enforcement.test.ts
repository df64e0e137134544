import assert from "node:assert/strict";
import { test } from "node:test";
import type { Environment } from "@paddock/api/environment";
import type { RecordView } from "@paddock/api/wire/records";
import { decideEnvironment } from "./decide.ts";
import { complete, environment, told } from "./sample.ts";

const AT = Date.parse("2026-11-21T13:00:00Z");
const later = (seconds: number): string => new Date(AT + seconds * 1000).toISOString();

/** A record whose session began so many seconds after AT. */
function probed(uid: string, open: readonly string[], begun: number): RecordView {
  const { metadata, spec } = environment();
  return {
    uid, namespace: "demo", name: uid, version: 1,
    activity: { kind: "Active" },
    bundle: { digest: "d", agentDigest: "a", environment: { name: metadata.name, uid: metadata.uid, digest: "e", spec }, limits: { maxTurns: 1, timeoutSeconds: 1 }, startTime: later(begun), traceId: "t" },
    runner: { epoch: 1, connected: true, since: later(begun) },
    sandbox: { requested: 1, pending: false, isolation: { podUid: "p", open } },
    cancelled: false, suspended: false, approvals: [], authors: [], lastSeq: 2, turns: 0, toolCalls: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0 },
    recentSteps: [],
  };
}

const OPEN = ["API server (tcp 10.96.0.1:443)", "metadata\u001b[2J (tcp 169.254.169.254:80)"];

function play() {
  let self: Environment = told(environment(), "Available");
  let clock = 0;
  return {
    /** What Ready says after a pass over these records; undefined records: not known yet. */
    look: (records: readonly RecordView[] | undefined, spec: Partial<Environment["spec"]> = {}) => {
      clock += 10;
      self = { ...self, spec: { ...self.spec, ...spec } };
      const isOpen = (record: RecordView): boolean => (record.sandbox.isolation?.open.length ?? 0) > 0;
      const probes = records === undefined ? undefined : { open: records.filter(isOpen), clean: records.filter((record) => !isOpen(record)) };
      const [ready] = decideEnvironment(complete(self, { probes, waiting: records === undefined ? undefined : [] }), new Date(AT + clock * 1000)).claims ?? [];
      assert.ok(ready);
      const before = self.status?.conditions?.[0];
      const lastTransitionTime = before?.status === ready.status ? before.lastTransitionTime : later(clock);
      self = { ...self, status: { observedGeneration: 1, conditions: [{ type: "Ready", status: ready.status, reason: ready.reason, message: ready.message, observedGeneration: 1, lastTransitionTime }] } };
      return ready;
    },
  };
}

test("what a sandbox reached is told with the fix, stays when the record is gone, and until a younger session finds nothing open", () => {
  const { look } = play();
  const found = look([probed("s1", OPEN, 1)]);
  assert.deepEqual([found.status, found.reason], ["False", "NetworkPolicyNotEnforced"]);
  assert.match(found.message, /reached API server \(tcp 10\.96\.0\.1:443\), metadata\?\[2J .*Cilium or Calico.*spec\.network\.enforcement: Unverified in Environment standard/);
  assert.deepEqual(look([]), found);
  assert.deepEqual(look(undefined), found, "the records are not known");
  assert.deepEqual(look([probed("s2", [], 5)]), found, "one that began before it was told");
  assert.deepEqual(look([probed("s3", ["gateway (tcp 10.0.0.9:8443)"], 30)]), found, "another word for the same");
  assert.equal(look([probed("s4", [], 100)]).reason, "Available");
  assert.equal(look([]).reason, "Available");
});

test("a report that lingers does not make the condition swing", () => {
  const { look } = play();
  const lingering = probed("s1", OPEN, 1);
  look([lingering]);
  assert.equal(look([lingering, probed("s2", [], 15)]).reason, "Available");
  assert.equal(look([lingering]).reason, "Available");
  assert.equal(look([lingering, probed("s3", OPEN, 40)]).reason, "NetworkPolicyNotEnforced");
});

test("of one node that enforces and one that does not, the one that does not counts", () => {
  const { look } = play();
  look([probed("s1", OPEN, 1)]);
  assert.equal(look([probed("s2", [], 20), probed("s3", OPEN, 21)]).reason, "NetworkPolicyNotEnforced");
});

test("an Environment that accepts it is Available", () => {
  const { look } = play();
  assert.equal(look([probed("s1", OPEN, 1)]).reason, "NetworkPolicyNotEnforced");
  assert.equal(look([probed("s1", OPEN, 1)], { network: { enforcement: "Unverified" } }).reason, "Available");
});

test("a missing Secret, for which sessions wait, goes before it", () => {
  const secretKeyRef = { name: "github", key: "token" };
  const credentials = [{ name: "git", secretKeyRef, hosts: ["github.com"] }];
  const self = told(environment({ credentials, network: { allowedHosts: [{ host: "github.com" }] } }), "Available");
  const waiting = [{ ...probed("s1", OPEN, 1), problem: { problem: "CredentialMissing", subject: "secret github, key token", message: "" } }];
  const [ready] = decideEnvironment(complete(self, { probes: { open: waiting, clean: [] }, waiting }), new Date(AT)).claims ?? [];
  assert.equal(ready?.reason, "SecretNotFound");
  assert.match(ready.message, /^spec\.credentials\[git\]: runners find no key token in a Secret demo\/github/);
});

test("an allowed host that is a Service needs a peer, and addresses have to be networks that anybody may go to", () => {
  const reasonOf = (network: Environment["spec"]["network"]) => decideEnvironment(complete(told(environment({ ...(network === undefined ? {} : { network }) }), "Available")), new Date(AT)).claims?.[0];
  const missing = reasonOf({ allowedHosts: [{ host: "api.example.com" }, { host: "git.tools.svc.cluster.local" }] });
  assert.equal(missing?.reason, "InvalidReference");
  assert.match(missing.message, /spec\.network\.allowedHosts\[1\]\.host points to git\.tools\.svc\.cluster\.local inside the cluster.*add a peer to spec\.network\.inCluster.*kubernetes\.io\/metadata\.name: tools/);
  const peer = { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "tools" } }, ports: [3000] };
  assert.equal(reasonOf({ allowedHosts: [{ host: "git.tools.svc.cluster.local" }], inCluster: [peer] })?.reason, "Available");
  const wrong = reasonOf({ allowedHosts: [{ host: "git.example.com", addresses: ["10.20.0.0/16", "127.0.0.0/8"] }] });
  assert.equal(wrong?.reason, "InvalidReference");
  assert.match(wrong.message, /spec\.network\.allowedHosts\[0\]\.addresses of git\.example\.com: 127\.0\.0\.0\/8/);
});
