import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ApiError, classifyClusterError } from "../cluster/errors.ts";
import type { Fault } from "../kernel/kind.ts";
import { explainFault, explainRefusal } from "./refusal.ts";
import { environment } from "./sample.ts";

// The texts are those of an API server of Kubernetes 1.36.

const refused = (message: string, status = 403): Fault => {
  const body = JSON.stringify({ kind: "Status", reason: status === 403 ? "Forbidden" : "Invalid", message });
  const fault = classifyClusterError(new ApiError(status, "POST /api/v1/namespaces/demo/pods?fieldManager=paddock-operator&dryRun=All", body));
  assert.ok(fault);
  return fault;
};

const self = environment({ sandbox: { runtimeClassName: "gvisor" }, scheduling: { priorityClassName: "urgent" } });
const forbidden = (why: string): string => `pods "standard-s0" is forbidden: ${why}`;

interface Case {
  readonly refusal: string;
  readonly message: string;
  readonly status?: number;
  readonly says: readonly string[];
  readonly reads: RegExp;
}

const cases: readonly Case[] = [
  {
    refusal: "a runtime class that is missing",
    message: forbidden('pod rejected: RuntimeClass "gvisor" not found'),
    says: ["Ready False RuntimeClassNotFound", "Reconciling True RuntimeClassNotFound"],
    reads: /^spec\.sandbox\.runtimeClassName: there is no RuntimeClass gvisor .*kubectl get runtimeclasses/,
  },
  {
    refusal: "a priority class that is missing",
    message: forbidden("no PriorityClass with name urgent was found"),
    says: ["Ready False PriorityClassNotFound", "Reconciling True PriorityClassNotFound"],
    reads: /^spec\.scheduling\.priorityClassName: there is no PriorityClass urgent .*kubectl get priorityclasses/,
  },
  {
    refusal: "the namespace's limit range",
    message: forbidden("[maximum cpu usage per Container is 100m, but limit is 2, maximum memory usage per Container is 64Mi, but limit is 1Gi]"),
    says: ["Ready False Invalid", "Stalled True Invalid"],
    reads: /maximum cpu usage per Container is 100m, but limit is 2.*spec\.sandbox\.resources.*kubectl get limitranges -n demo/,
  },
  {
    refusal: "Pod Security",
    message: forbidden('violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)'),
    says: ["Ready False Forbidden", "Stalled True Forbidden"],
    reads: /violates PodSecurity "restricted:latest".*kubectl get namespace demo --show-labels/,
  },
  {
    refusal: "somebody's admission policy",
    message: forbidden("ValidatingAdmissionPolicy 'images' with binding 'images' denied request: only images of ghcr.io"),
    says: ["Ready False Forbidden", "Stalled True Forbidden"],
    reads: /^The API server does not take the Environment's pods: ValidatingAdmissionPolicy 'images' .*only images of ghcr\.io$/,
  },
  {
    refusal: "a field that is wrong",
    message: 'Pod "standard-s0" is invalid: spec.tolerations[0].operator: Invalid value: core.Toleration{Key:"", Operator:"Equal"}: operator must be Exists when `key` is empty',
    status: 422,
    says: ["Ready False Invalid", "Stalled True Invalid"],
    reads: /^The API server does not take the Environment's pods: spec\.tolerations\[0\]\.operator: Invalid value/,
  },
  {
    refusal: "an account that the API server does not know yet",
    message: forbidden('error looking up service account demo/paddock-pod: serviceaccount "paddock-pod" not found'),
    says: ["Ready False Progressing", "Reconciling True Progressing"],
    reads: /service account/,
  },
];

describe("pods that the API server does not take", () => {
  for (const { refusal, message, status, says, reads } of cases) {
    it(`${refusal}: told with field, value and fix`, () => {
      const claims = explainRefusal(self, refused(message, status));
      assert.deepEqual(claims.filter((claim) => claim.status !== "False" || claim.type === "Ready").map((claim) => `${claim.type} ${claim.status} ${claim.reason}`), says);
      assert.match(claims[0]?.message ?? "", reads);
    });
  }

  it("a quota that is used up is no fault of the Environment's: it waits for other pods", () => {
    assert.deepEqual(explainRefusal(self, refused(forbidden("exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"))), []);
  });

  it("no answer is no leave: the Environment is not Ready, in words that stand still", () => {
    const told = ["a", "b"].map((message) => explainRefusal(self, { kind: "unavailable", message, retry: true, cause: undefined })[0]);
    assert.deepEqual([told[0]?.status, told[0]?.reason], ["False", "Progressing"]);
    assert.deepEqual(told[0], told[1]);
  });
});

describe("policies and accounts that cannot be written", () => {
  const told = (kind: Fault["kind"]): readonly string[] => explainFault({ kind, message: "no", retry: false, cause: undefined }).map(({ type, status, reason }) => `${type} ${status} ${reason}`);

  it("are told when people can cure it, and Reconciling is taken back", () => {
    for (const [kind, reason] of [["forbidden", "Forbidden"], ["invalid", "Invalid"], ["name-conflict", "NameConflict"]] as const) {
      assert.deepEqual(told(kind), [`Ready False ${reason}`, `Stalled True ${reason}`, `Reconciling False ${reason}`]);
    }
  });

  it("are not told when they will be by themselves", () => {
    for (const kind of ["conflict", "log-conflict", "namespace-terminating", "unavailable", "programming"] as const) assert.deepEqual(told(kind), []);
  });
});
