import type { Environment } from "@paddock/api/environment";
import type { Condition } from "@paddock/api/object";
import type { RecordView } from "@paddock/api/wire/records";
import type { Obstacle } from "./claim.ts";

/** Probes of sandboxes of one Environment, by what they found. */
export interface Probes {
  /** Records of sessions whose newest report has something open, and whose frozen Environment does not accept that. */
  readonly open: readonly RecordView[];
  /** Those whose newest report is clean; looked up only while the Environment is told to be unenforced, for there are many. */
  readonly clean: readonly RecordView[];
}

/**
 * Whether the cluster is known not to enforce network policies; without `probes`, which are not known yet, what is told stays. Pure.
 *
 *   Available ── a session that began since then reports something open ──▶ NetworkPolicyNotEnforced
 *       ▲                                                                             │
 *       └── a session that began since then reports nothing open, or the spec says Unverified
 *
 * A record goes as soon as its session's end is told, so that status is what remembers. Only sessions younger than the condition count: each answer is
 * older than the next question, and one that lingers changes nothing.
 */
export function findUnenforced({ metadata, spec, status }: Environment, probes: Probes = NONE): Obstacle | undefined {
  if (spec.network?.enforcement === "Unverified") return undefined;
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  if (ready?.reason === "NetworkPolicyNotEnforced") {
    // What is told stays as it is: the next session finds the same, perhaps in another order.
    return isProvenSince(ready, probes) ? undefined : { reason: "NetworkPolicyNotEnforced", message: ready.message };
  }
  const open = openSince(ready, probes);
  return open === undefined ? undefined : { reason: "NetworkPolicyNotEnforced", message: describe(metadata.name, open) };
}

/** What a sandbox has reached since the Environment is Ready; undefined when none has reached anything. */
function openSince(ready: Condition | undefined, { open }: Probes): readonly string[] | undefined {
  const counting = ready?.status === "True" ? open.filter((record) => isYounger(record, ready)) : open;
  return [...counting].sort((a, b) => (a.uid < b.uid ? -1 : 1))[0]?.sandbox.isolation?.open;
}

const NONE: Probes = { open: [], clean: [] };

function isProvenSince(ready: Condition, { open, clean }: Probes): boolean {
  return clean.some((record) => isYounger(record, ready)) && !open.some((record) => isYounger(record, ready));
}

function isYounger({ bundle }: RecordView, { lastTransitionTime }: Condition): boolean {
  return Date.parse(bundle.startTime) >= Date.parse(lastTransitionTime);
}

function describe(environment: string, open: readonly string[]): string {
  return (
    `A sandbox of this Environment reached ${open.map(printable).join(", ")}, which it must not: the cluster does not enforce network policies, and each session that needs a sandbox ends as NotIsolated. ` +
    `Install a network plugin that does, e.g. Cilium or Calico, and run a session again; or accept it with spec.network.enforcement: Unverified in Environment ${environment}.`
  );
}

// Told by a program in the sandbox's own image.
function printable(text: string): string {
  return text.replace(/[^ -~]/g, "?").slice(0, 128);
}
