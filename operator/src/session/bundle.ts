import type { Agent } from "@paddock/api/agent";
import { DEFAULT_LIMITS, type Environment } from "@paddock/api/environment";
import type { Bundle } from "@paddock/api/log/bundle";
import { digestOf } from "@paddock/api/log/canonical";
import { parseUsd } from "@paddock/api/log/money";
import { traceIdOf } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";

export interface BundleParts {
  readonly session: Session;
  readonly agent: Agent;
  readonly environment: Environment;
}

/** Agent and Environment as they are at `now`, frozen for the session's life. Pure. */
export function buildBundle({ session, agent, environment }: BundleParts, now: Date): Bundle {
  const { uid, namespace, name } = session.metadata;
  return {
    version: 1,
    session: { uid, namespace, name },
    ...(session.spec.mode === undefined ? {} : { mode: session.spec.mode }),
    agent: { name: agent.metadata.name, uid: agent.metadata.uid, digest: digestOf(agent.spec), spec: agent.spec },
    environment: { name: environment.metadata.name, uid: environment.metadata.uid, digest: digestOf(environment.spec), spec: environment.spec },
    limits: buildLimits({ session, agent, environment }),
    startTime: now.toISOString(),
    traceId: traceIdOf(uid),
  };
}

/** The tightest of what Session, Agent and Environment say; the Environment's defaults are ceilings too. Pure. */
export function buildLimits({ session, agent, environment }: BundleParts): Bundle["limits"] {
  const asked = session.spec.limits;
  const ceiling = environment.spec.limits;
  return {
    maxTurns: tightest(asked?.maxTurns, agent.spec.limits?.maxTurns, ceiling?.maxTurns ?? DEFAULT_LIMITS.maxTurns),
    timeoutSeconds: tightest(asked?.timeoutSeconds, ceiling?.timeoutSeconds ?? DEFAULT_LIMITS.timeoutSeconds),
    ...spendingLimits(asked, ceiling),
  };
}

type Spending = Pick<Bundle["limits"], "costUSD" | "totalTokens">;

/** Money and tokens, which have no default. */
function spendingLimits(asked: Spending = {}, ceiling: Spending = {}): Spending {
  const amounts = [asked.costUSD, ceiling.costUSD].filter((amount) => amount !== undefined);
  const tokens = [asked.totalTokens, ceiling.totalTokens].filter((count) => count !== undefined);
  return {
    ...(amounts.length === 0 ? {} : { costUSD: amounts.reduce(cheaper) }),
    ...(tokens.length === 0 ? {} : { totalTokens: Math.min(...tokens) }),
  };
}

/** Amounts are compared as money: as text "10" would be less than "2.50". */
function cheaper(a: string, b: string): string {
  return parseUsd(a) <= parseUsd(b) ? a : b;
}

function tightest(...limits: readonly (number | undefined)[]): number {
  return Math.min(...limits.filter((limit) => limit !== undefined));
}
