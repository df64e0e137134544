import type { Claim } from "@paddock/api/conditions";
import type { BaseStatus, Condition } from "@paddock/api/object";
import type { Plan, Self } from "./kind.ts";

/**
 * The status an object is to have: the plan's fields, its claims overlaid by `overrides` (what a failed action has to say), times and
 * generations added. Returns the status as it is when neither plan nor overrides say anything. Members that are undefined are
 * dropped, so that the result compares equal to what the API server sends back. Pure.
 */
export function nextStatus<Status extends BaseStatus>(
  self: Self<Status>, plan: Plan<Status>, overrides: readonly Claim[], now: Date,
): BaseStatus | undefined {
  const saysConditions = plan.claims !== undefined || overrides.length > 0;
  if (!saysConditions && plan.status === undefined) return self.status;
  const { conditions: before = [], observedGeneration, ...rest } = self.status ?? {};
  const generation = self.metadata.generation ?? observedGeneration;
  const conditions = saysConditions ? nextConditions(before, overlay(plan.claims ?? before, overrides), generation, now) : before;
  return withoutUndefined({ ...(plan.status ?? rest), conditions, ...generationOf(generation) });
}

/** Conditions from claims. A condition that is not claimed any more disappears; a time changes only with its status. Pure. */
export function nextConditions(before: readonly Condition[], claims: readonly Claim[], generation: number | undefined, now: Date): readonly Condition[] {
  const old = new Map(before.map((condition) => [condition.type, condition]));
  return claims.map(({ type, status, reason, message }) => {
    const earlier = old.get(type);
    const lastTransitionTime = earlier?.status === status ? earlier.lastTransitionTime : `${now.toISOString().slice(0, 19)}Z`;
    return { type, status, reason, message, lastTransitionTime, ...generationOf(generation) };
  });
}

function generationOf(generation: number | undefined): { readonly observedGeneration?: number } {
  return generation === undefined ? {} : { observedGeneration: generation };
}

/** kstatus' conditions that are present only while they are True. */
const ABNORMAL_TRUE: readonly string[] = ["Reconciling", "Stalled"];

// An override takes back what the plan claims by saying False, and an abnormal-true condition that is False is not there.
function overlay(claims: readonly Claim[], overrides: readonly Claim[]): readonly Claim[] {
  const byType = new Map(claims.map((claim) => [claim.type, claim]));
  for (const claim of overrides) byType.set(claim.type, claim);
  return [...byType.values()].filter(({ type, status }) => status !== "False" || !ABNORMAL_TRUE.includes(type));
}

function withoutUndefined<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutUndefined) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined).map(([name, member]) => [name, withoutUndefined(member)])) as T;
}
