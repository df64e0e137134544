import { type SessionClaim, conditionOf, cut } from "./claim.ts";
import type { SessionWorld } from "./observe.ts";

/** What the probe of the newest sandbox has found; of one that has not reported yet nothing is known. Before a record is known, what status says stays. Pure. */
export function claimIsolated({ self, record }: Pick<SessionWorld, "self" | "record">): SessionClaim {
  if (record === undefined) return keptClaim(self);
  const { isolation, bound } = record.sandbox;
  if (isolation === undefined) return NOT_PROBED;
  if (bound !== undefined && bound.podUid !== isolation.podUid) return { ...NOT_PROBED, message: "The newest sandbox has not reported yet what it can reach." };
  if (isolation.open.length === 0) return { type: "Isolated", status: "True", reason: "Proven", message: "The sandbox's probe found nothing open." };
  const reached = `The sandbox reached ${isolation.open.map(printable).join(", ")}, which it must not`;
  const { name, spec } = record.bundle.environment;
  if (spec.network?.enforcement === "Unverified") return { type: "Isolated", status: "False", reason: "Unverified", message: cut(`${reached}; Environment ${name} says network.enforcement: Unverified, so the session goes on.`) };
  const fix = "have the cluster enforce network policies (e.g. with Cilium or Calico)";
  return { type: "Isolated", status: "False", reason: "NotIsolated", message: cut(`${reached}: ${fix}, or accept it by spec.network.enforcement: Unverified in Environment ${name}.`) };
}

const NOT_PROBED: SessionClaim = { type: "Isolated", status: "Unknown", reason: "NotProbed", message: "" };

function keptClaim(self: SessionWorld["self"]): SessionClaim {
  const told = conditionOf(self, "Isolated");
  return told === undefined ? NOT_PROBED : ({ type: "Isolated", status: told.status, reason: told.reason, message: told.message } as SessionClaim);
}

// Told by a program in the sandbox's own image: nothing of it may move a reader's cursor.
function printable(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}
