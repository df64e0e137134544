import type { Environment } from "@paddock/api/environment";
import { BASELINE_POLICY, LABELS, shorten } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { BaseStatus, ObjectMeta } from "@paddock/api/object";
import type { RecordView } from "@paddock/api/wire/records";
import { agentKind } from "./agent/agent.ts";
import { approvalKind } from "./approval/approval.ts";
import { hasAddedLabels } from "./cluster/resources.ts";
import { environmentKind } from "./environment/environment.ts";
import { baselineGuard, baselineKey } from "./guard/baseline.ts";
import { strays } from "./guard/strays.ts";
import { createBarePass } from "./kernel/bare.ts";
import { type KindPorts, createController, kindController } from "./kernel/controller.ts";
import type { Key, Kind, Read, Self, Source } from "./kernel/kind.ts";
import { type Managed, type WakeRule, wokenBy } from "./kernel/manager.ts";
import { createOrphanPass } from "./records/orphans.ts";
import { schedulesOfRecord } from "./schedule/observe.ts";
import { scheduleKind } from "./schedule/schedule.ts";
import { sessionKind } from "./session/session.ts";
import { nextAfterRecord, nextAfterSession } from "./session/slots.ts";
import type { Settings } from "./settings.ts";
import { BY_AGENT, BY_ENVIRONMENT_LIVE, BY_NAMESPACE, BY_SESSION_UID, BY_UID, EVERY, OPEN, admission, agents, approvals, budgets, environments, networkPolicies, pods, probeOf, records, schedules, serviceAccounts, sessions, workspaceClaims } from "./sources.ts";
import { keyOf, nameOf, ownKey, ownerKeys } from "./wakes.ts";

/** What the table needs besides the ports of every kind. */
export interface KindsOptions extends KindPorts {
  /** Called in each observation. */
  settings(): Settings;
  /** Namespaces that are watched; empty means all. */
  readonly namespaces: readonly string[];
}

/** The kinds that are reconciled: to add one is to add its entry here, and what it observes to observed.ts. */
export function createKinds({ settings, namespaces, ...ports }: KindsOptions): readonly Managed[] {
  const entry = <World extends { readonly self: Self<Status> }, Status extends BaseStatus>(kind: Kind<World, Status>, { workers, self, wakes }: EntryOptions): Managed => ({
    controller: kindController(kind, workers, ports),
    self,
    wakes,
  });
  return [
    entry(agentKind(), { workers: 2, self: agents, wakes: [wokenBy(agents, ownKey)] }),
    entry(environmentKind(settings), {
      workers: 2,
      self: environments,
      wakes: [
        wokenBy(environments, ownKey),
        // Namespace-wide objects serve all its Environments, and there are few of both.
        wokenBy(networkPolicies, ({ metadata }, read) => read.list(environments, BY_NAMESPACE, metadata.namespace).map(keyOf)),
        wokenBy(serviceAccounts, ({ metadata }, read) => read.list(environments, BY_NAMESPACE, metadata.namespace).map(keyOf)),
        // A label of somebody else's on a pod may make a foreign network policy open it.
        wokenBy(pods, ({ metadata }, read) => (hasAddedLabels(metadata) ? environmentsOf(metadata, read).map(keyOf) : [])),
        wokenBy(records, ({ namespace, problem, bundle }) => (problem?.problem === "CredentialMissing" ? [{ namespace, name: bundle.environment.name }] : [])),
        wokenBy(records, (record, read) => environmentOfProbe(record, read)),
        wokenBy(admission, (_view, read) => read.list(environments, EVERY, "").map(keyOf)),
        wokenBy(budgets, ({ environmentUid }, read) => read.list(environments, BY_UID, environmentUid).map(keyOf)),
      ],
    }),
    entry(sessionKind(settings), {
      workers: 16,
      self: sessions,
      wakes: [
        wokenBy(sessions, ownKey),
        // Who gives up a slot of an Environment wakes those who are next in its queue, and nobody else.
        wokenBy(sessions, nextAfterSession),
        wokenBy(records, nextAfterRecord),
        wokenBy(agents, (agent, read) => read.list(sessions, BY_AGENT, nameOf(agent)).map(keyOf)),
        wokenBy(environments, (environment, read) => read.list(sessions, BY_ENVIRONMENT_LIVE, nameOf(environment)).map(keyOf)),
        // Before they are bound they wait for the gateway to know the budget.
        wokenBy(budgets, ({ environmentUid }, read) => read.list(environments, BY_UID, environmentUid).flatMap((environment) => unbound(read.list(sessions, BY_ENVIRONMENT_LIVE, nameOf(environment))).map(keyOf))),
        wokenBy(pods, ownerKeys("Session")),
        wokenBy(approvals, ownerKeys("Session")),
        wokenBy(workspaceClaims, ownerKeys("Session")),
        wokenBy(records, ({ namespace, name }) => [{ namespace, name }]),
      ],
    }),
    entry(approvalKind(), {
      workers: 4,
      self: approvals,
      wakes: [
        wokenBy(approvals, ownKey),
        wokenBy(records, ({ uid }, read) => read.list(approvals, BY_SESSION_UID, uid).map(keyOf)),
        wokenBy(admission, (_view, read) => read.list(approvals, OPEN, "").map(keyOf)),
      ],
    }),
    entry(scheduleKind(), {
      // Many are due at the same instant, at the full hour. With a worker for each, all creates stand in the client's queue before the first status,
      // and there they go first; how many are under way at once is the client's bound.
      workers: 1024,
      self: schedules,
      wakes: [wokenBy(schedules, ownKey), wokenBy(sessions, ownerKeys("Schedule")), wokenBy(records, schedulesOfRecord)],
    }),
    orphans(ports, namespaces),
    strayPods(ports),
    baselines(ports),
  ];
}

// One that found something open, and while an Environment is told for that, those that did not: all others change nothing.
function environmentOfProbe(record: RecordView, read: Read): readonly Key[] {
  const probe = probeOf(record);
  const { namespace, bundle: { environment: { name } } } = record;
  const isTold = (): boolean => read.get(environments, { namespace, name })?.status?.conditions?.some(({ reason }) => reason === "NetworkPolicyNotEnforced") === true;
  return probe === "Open" || (probe === "Clean" && isTold()) ? [{ namespace, name }] : [];
}

function unbound(found: readonly Session[]): readonly Session[] {
  return found.filter(({ status }) => status?.startTime === undefined);
}

// The label of an Environment with a long name is a hash of it.
function environmentsOf({ namespace, labels }: ObjectMeta, read: Read): readonly Environment[] {
  return read.list(environments, BY_NAMESPACE, namespace).filter(({ metadata }) => shorten(metadata.name) === labels?.[LABELS.environment]);
}

interface EntryOptions {
  /** Passes of the kind at the same time. */
  readonly workers: number;
  /** All its keys are looked at when passes begin. */
  readonly self: Source<unknown>;
  readonly wakes: readonly WakeRule[];
}

/** Records whose Session is gone: no object of the cluster, so a pass of its own. Keys are `<namespace>/<uid>`. */
function orphans({ read, writer, classify, report }: KindPorts, namespaces: readonly string[]): Managed {
  const pass = createOrphanPass({ read, act: writer.act, classify, namespaces, nowMs: () => performance.now() });
  return {
    controller: createController({ name: "Record", workers: 2, report, pass }),
    self: records,
    wakes: [
      wokenBy(records, ({ namespace, uid }) => [{ namespace, name: uid }]),
      wokenBy(sessions, ({ metadata }) => [{ namespace: metadata.namespace, name: metadata.uid }]),
    ],
  };
}

/** Pods whose Session is gone. */
function strayPods({ read, writer, classify, report }: KindPorts): Managed {
  const pass = createBarePass(strays(read), { act: writer.act, classify });
  return {
    controller: createController({ name: "Pod", workers: 4, report, pass }),
    self: pods,
    wakes: [wokenBy(pods, ownKey), wokenBy(sessions, ({ metadata }) => read.list(pods, BY_SESSION_UID, metadata.uid).map(keyOf))],
  };
}

/** The baseline policy of namespaces that have pods and no Environment any more. */
function baselines({ read, writer, classify, report }: KindPorts): Managed {
  const pass = createBarePass(baselineGuard(read), { act: writer.act, classify });
  return {
    controller: createController({ name: "Baseline", workers: 1, report, pass }),
    self: pods,
    keyOf: baselineKey,
    wakes: [
      wokenBy(pods, ({ metadata }) => [baselineKey(metadata)]),
      wokenBy(networkPolicies, ({ metadata }) => (metadata.name === BASELINE_POLICY ? [baselineKey(metadata)] : [])),
      wokenBy(environments, ({ metadata }) => [baselineKey(metadata)]),
    ],
  };
}
