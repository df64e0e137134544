import type { Observed, Key } from "./kernel/kind.ts";
import { type Wake, wakeOn } from "./kernel/manager.ts";
import { BY_AGENT, BY_ENVIRONMENT, BY_NAMESPACE, agents, environments, networkPolicies, pods, records, serviceAccounts, sessions } from "./sources.ts";

/** Names of the controllers that a change may wake. */
export interface ControllerNames {
  readonly agent: string;
  readonly environment: string;
  readonly session: string;
  readonly orphan: string;
}

/** What looks at what: for each source and controller, which keys a change of a value concerns. */
export function wakesOf({ agent, environment, session, orphan }: ControllerNames): readonly Wake[] {
  return [
    wakeOn(agents, agent, ownKey),
    wakeOn(agents, session, ({ metadata }, read) => read.list(sessions, BY_AGENT, `${metadata.namespace}/${metadata.name}`).map(keyOf)),
    wakeOn(environments, environment, ownKey),
    wakeOn(environments, session, ({ metadata }, read) => read.list(sessions, BY_ENVIRONMENT, `${metadata.namespace}/${metadata.name}`).map(keyOf)),
    wakeOn(sessions, session, ownKey),
    wakeOn(sessions, orphan, ({ metadata }) => [{ namespace: metadata.namespace, name: metadata.uid }]),
    wakeOn(pods, session, ownerKeys("Session")),
    // Namespace-wide objects serve all its Environments, and there are few of both.
    wakeOn(networkPolicies, environment, ({ metadata }, read) => read.list(environments, BY_NAMESPACE, metadata.namespace).map(keyOf)),
    wakeOn(serviceAccounts, environment, ({ metadata }, read) => read.list(environments, BY_NAMESPACE, metadata.namespace).map(keyOf)),
    wakeOn(records, session, ({ namespace, name }) => [{ namespace, name }]),
    wakeOn(records, orphan, ({ namespace, uid }) => [{ namespace, name: uid }]),
  ];
}

function keyOf({ metadata }: Observed): Key {
  return { namespace: metadata.namespace, name: metadata.name };
}

function ownKey(value: Observed): readonly Key[] {
  return [keyOf(value)];
}

function ownerKeys(kind: string): (value: Observed) => readonly Key[] {
  return ({ metadata }) => (metadata.ownerReferences ?? []).filter((owner) => owner.kind === kind).map(({ name }) => ({ namespace: metadata.namespace, name }));
}
