import type { Approval, ApprovalSpec } from "@paddock/api/approval";
import { API_VERSION } from "@paddock/api/group";
import type { Session } from "@paddock/api/session";
import { grant, openOperator, openServiceAccount, openUser } from "../../e2e/identities.ts";
import type { Identity } from "../../e2e/identities.ts";
import { get } from "../../e2e/kubectl.ts";
import { apply, buildSession } from "../../e2e/lab.ts";
import type { Attack, Outcome } from "../attack.ts";
import type { Stage } from "../stage.ts";

// Decisions by those who may not decide. Approvals are made as the operator makes them, for a Session that runs nothing.

interface Cast {
  readonly operator: Identity;
  readonly approver: Identity;
  readonly colleague: Identity;
  readonly onlooker: Identity;
  readonly robot: Identity;
  readonly sessionUid: string;
}

const DIGEST = `sha256:${"0".repeat(64)}`;
const OTHER = `sha256:${"1".repeat(64)}`;

async function castOf(stage: Stage): Promise<Cast> {
  return stage.once("cast of approvals", async () => {
    const { namespace } = stage;
    await apply(namespace, buildSession("decided", "none", { agent: "none" }), { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot" } });
    const [operator, approver, colleague, onlooker, robot] = await Promise.all([openOperator(), openUser("approver"), openUser("colleague"), openUser("onlooker"), openServiceAccount(namespace, "robot")]);
    const approvals = { apiGroups: ["paddock.dev"], resources: ["approvals", "approvals/status"] };
    await Promise.all([
      grant(namespace, operator, [{ ...approvals, verbs: ["create", "get", "update", "patch", "delete"] }]),
      ...[approver, colleague, robot].map((identity) => grant(namespace, identity, "paddock-approver")),
      grant(namespace, onlooker, [{ ...approvals, verbs: ["*"] }]),
    ]);
    return { operator, approver, colleague, onlooker, robot, sessionUid: (await get<Session>("session", "decided", namespace))?.metadata.uid ?? "" };
  });
}

function approval(namespace: string, name: string, sessionUid: string, change: Partial<ApprovalSpec>): object {
  const spec: ApprovalSpec = {
    sessionRef: { name: "decided", uid: sessionUid }, agentName: "writer", call: "call-1", tool: "bash", fingerprint: DIGEST, argumentsSummary: "git push", argumentsDigest: DIGEST,
    requesters: [], allowRequester: false, allowServiceAccounts: false, requestedAt: "2026-01-01T00:00:00Z", expiresAt: "2999-01-01T00:00:00Z", traceID: "0".repeat(32), ...change,
  };
  const metadata = { name, namespace, labels: { "app.kubernetes.io/managed-by": "paddock" }, ownerReferences: [{ apiVersion: API_VERSION, kind: "Session", name: "decided", uid: sessionUid, controller: true }] };
  return { apiVersion: API_VERSION, kind: "Approval", metadata, spec };
}

interface Decision {
  readonly by: (cast: Cast) => Identity;
  /** User name that is written; the decider's own by default. */
  readonly as?: (cast: Cast) => string;
  readonly spec?: (cast: Cast) => Partial<ApprovalSpec>;
  readonly more?: object;
  /** A decision that is there already. */
  readonly after?: "Approved" | "Denied";
}

let made = 0;

async function decide(stage: Stage, { by, as, spec, more, after }: Decision): Promise<Outcome> {
  const cast = await castOf(stage);
  const name = `decision-${(made += 1)}`;
  await cast.operator.must(["create", "-f", "-"], approval(stage.namespace, name, cast.sessionUid, spec?.(cast) ?? {}));
  const write = (identity: Identity, decision: object) => identity.kubectl(["patch", "approval", name, "-n", stage.namespace, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { decision } })]);
  if (after !== undefined) await write(cast.colleague, { decision: after, decidedBy: cast.colleague.name });
  const decidedBy = as?.(cast) ?? by(cast).name;
  const { code, stderr } = await write(by(cast), { decision: "Approved", decidedBy, ...more });
  const succeeded = code === 0 && (await isDecided(stage, name, decidedBy));
  return { succeeded, how: succeeded ? "decided" : stderr.trim().slice(-300) };
}

async function isDecided({ namespace }: Stage, name: string, by: string): Promise<boolean> {
  const decision = (await get<Approval>("approval", name, namespace))?.status?.decision;
  return decision?.decision === "Approved" && decision.decidedBy === by;
}

const good: Decision = { by: ({ approver }) => approver };

function attack(name: string, attempt: Decision, control: Decision = good): Attack {
  return { area: "approvals", name, attempt: (stage) => decide(stage, attempt), control: (stage) => decide(stage, control) };
}

/** Without a decision: the object itself. */
function written(name: string, args: (approvalName: string, namespace: string) => readonly string[]): Attack {
  const run = async (stage: Stage, pick: (cast: Cast) => Identity): Promise<Outcome> => {
    const cast = await castOf(stage);
    const object = `written-${(made += 1)}`;
    await cast.operator.must(["create", "-f", "-"], approval(stage.namespace, object, cast.sessionUid, {}));
    const { code, stderr } = await pick(cast).kubectl(args(object, stage.namespace));
    return { succeeded: code === 0, how: code === 0 ? "accepted" : stderr.trim().slice(-300) };
  };
  return { area: "approvals", name, attempt: (stage) => run(stage, ({ onlooker }) => onlooker), control: (stage) => run(stage, ({ operator }) => operator) };
}

const forged: Attack = {
  area: "approvals", name: "an approval made by somebody",
  attempt: async (stage) => create(stage, ({ onlooker }) => onlooker),
  control: async (stage) => create(stage, ({ operator }) => operator),
};

async function create(stage: Stage, pick: (cast: Cast) => Identity): Promise<Outcome> {
  const cast = await castOf(stage);
  const { code, stderr } = await pick(cast).kubectl(["create", "-f", "-"], approval(stage.namespace, `forged-${(made += 1)}`, cast.sessionUid, {}));
  return { succeeded: code === 0, how: code === 0 ? "accepted" : stderr.trim().slice(-300) };
}

export const approvalAttacks: readonly Attack[] = [
  attack("a decision by who asked for the work", { ...good, spec: ({ approver }) => ({ requesters: [approver.name] }) }, { ...good, spec: ({ approver }) => ({ requesters: [approver.name], allowRequester: true }) }),
  attack("a decision by a service account", { by: ({ robot }) => robot }, { by: ({ robot }) => robot, spec: () => ({ allowServiceAccounts: true }) }),
  attack("a decision without the right to approve", { by: ({ onlooker }) => onlooker }),
  attack("a decision in another's name", { ...good, as: ({ colleague }) => colleague.name }),
  attack("a decision on other arguments", { ...good, more: { argumentsDigest: OTHER } }, { ...good, more: { argumentsDigest: DIGEST } }),
  attack("a decision in the place of one that is there", { ...good, after: "Denied" }),
  attack("a decision on what has expired", { ...good, spec: () => ({ expiresAt: "2026-01-02T00:00:00Z" }) }),
  attack("a decision by the operator", { by: ({ operator }) => operator }),
  forged,
  written("an approval taken away", (name, namespace) => ["delete", "approval", name, "-n", namespace]),
];
