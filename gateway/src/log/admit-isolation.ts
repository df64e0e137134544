import { isDeepStrictEqual } from "node:util";
import type { EventDataOf } from "@paddock/api/log/events";
import { MAX_TOLD_OPEN } from "@paddock/api/log/state";
import type { CallState } from "@paddock/api/log/state";
import { customToolOf } from "@paddock/api/policy/rules";
import { refuse } from "./admission.ts";
import type { Question, Refusal } from "./admission.ts";

/** What the bound sandbox reaches, said once: what its probe found before the first command is the only thing that is not the commands' own work. */
export function admitIsolation({ podUid, open }: EventDataOf<"isolation.reported">, { state: { sandbox } }: Question): Refusal | undefined {
  if (sandbox.bound?.podUid !== podUid) {
    return refuse("stale", "wait", `sandbox pod ${podUid} is not the bound one (${sandbox.bound?.podUid ?? "none is bound"}): report what that one reaches`);
  }
  if (sandbox.isolation?.podUid !== podUid) return undefined;
  if (isDeepStrictEqual(sandbox.isolation.open, open.slice(0, MAX_TOLD_OPEN))) return refuse("stale", "wait", `what sandbox pod ${podUid} reaches is in the log already: read it and go on`);
  return refuse("denied", "final", `what sandbox pod ${podUid} reaches was reported already, and otherwise: the first report holds`);
}

/** No command before its sandbox is known to reach nothing, unless the Environment goes without that by name. */
export function refuseUnproven({ call, name }: CallState, { state: { sandbox }, bundle }: Question): Refusal | undefined {
  if (customToolOf(bundle, name) !== undefined || isUnverified(bundle)) return undefined;
  const { bound, isolation } = sandbox;
  if (bound === undefined) return refuse("stale", "wait", `call ${call} to ${name} has no sandbox: append sandbox.requested, and start it after sandbox.bound and isolation.reported`);
  if (isolation?.podUid !== bound.podUid) {
    return refuse("unexpected", "final", `nothing is known about what sandbox pod ${bound.podUid} reaches: append isolation.reported first, or run.finished with outcome NotIsolated`);
  }
  if (isolation.open.length === 0) return undefined;
  return refuse("denied", "final", `sandbox pod ${bound.podUid} reaches what it must not (${isolation.open.join(", ")}) and environment.spec.network.enforcement is not Unverified: append run.finished with outcome NotIsolated`);
}

/** A runner may end a run for it when the log says so, or when its tool server does not. */
export function refuseIsolated({ state: { sandbox }, bundle }: Question): Refusal | undefined {
  const { bound, isolation } = sandbox;
  if (isUnverified(bundle)) return refuse("denied", "final", "environment.spec.network.enforcement is Unverified, which accepts what sandboxes reach: go on");
  if (isolation !== undefined && isolation.open.length > 0) return undefined;
  if (bound !== undefined && bound.podUid !== isolation?.podUid) return undefined;
  return refuse("denied", "final", "no sandbox was reported to reach what it must not: NotIsolated needs isolation.reported with what is open, or a bound sandbox whose tool server says nothing");
}

function isUnverified({ environment }: Question["bundle"]): boolean {
  return environment.spec.network?.enforcement === "Unverified";
}
