import type { RecordView } from "@paddock/api/wire/records";
import type { PodView } from "../sources.ts";
import { leftMs } from "./deadline.ts";
import { describeEnd } from "./pod-trouble.ts";
import { hasEnded, terminationOf } from "./pods.ts";

/** On a node that does not answer a pod stays "being deleted" for ever. */
const UNANSWERED_MS = 20_000;

/** What a sandbox has met, in the kubelet's words, and what in its Environment would have let it go on. */
const LIMITS: readonly { readonly says: RegExp; readonly fix: (environment: string) => string }[] = [
  { says: /Usage of EmptyDir volume "workspace" exceeds the limit/, fix: (name) => `Raise spec.sandbox.workspace.size of Environment ${name}` },
  { says: /Usage of EmptyDir volume "[^"]*" exceeds the limit/, fix: () => "The size of /tmp is fixed: have commands put large files into /workspace" },
  { says: /exceeded its local ephemeral storage limit|Pod ephemeral local storage usage exceeds the total limit/, fix: (name) => `Raise spec.sandbox.resources.limits.ephemeral-storage of Environment ${name}` },
  { says: /low on resource: memory/, fix: (name) => `Its node had too little memory, and pods that use more than they have requested go first: raise spec.sandbox.resources.requests.memory of Environment ${name}` },
  { says: /low on resource: (ephemeral-storage|inodes)/, fix: (name) => `Its node had too little storage, and pods that use more than they have requested go first: raise spec.sandbox.resources.requests.ephemeral-storage of Environment ${name}` },
  { says: /low on resource: pids/, fix: () => "Its node had too many processes" },
];

/** Why a sandbox is no more, with the limit to raise where it met one; undefined while it is. Pure. */
export function describeSandboxLoss(pod: PodView, { bundle: { environment } }: Pick<RecordView, "bundle">, now: Date): string | undefined {
  if (!hasEnded(pod)) return unansweredLeftMs(pod, now) === 0 ? describeUnanswered(pod) : undefined;
  const why = describeEnd(pod, false).replace(/[\s.]+$/, "");
  const fix = fixOf(pod, environment.name);
  return fix === undefined ? why : `${why}. ${fix}.`;
}

/** When a pod that should be gone counts as lost, in milliseconds from now; undefined when that is no question. Pure. */
export function unansweredLeftMs({ metadata: { deletionTimestamp } }: PodView, now: Date): number | undefined {
  return deletionTimestamp === undefined ? undefined : Math.max(0, leftMs(Date.parse(deletionTimestamp), UNANSWERED_MS, now));
}

function fixOf(pod: PodView, environment: string): string | undefined {
  if (terminationOf(pod)?.reason === "OOMKilled") return `Its commands used more memory than they may: raise spec.sandbox.resources.limits.memory of Environment ${environment}`;
  const said = [pod.status.message, ...(pod.status.conditions ?? []).map(({ message }) => message)].join("\n");
  return LIMITS.find(({ says }) => says.test(said))?.fix(environment);
}

function describeUnanswered({ metadata: { name, deletionTimestamp }, spec }: PodView): string {
  return `Pod ${name} should be gone since ${deletionTimestamp ?? ""} and is not: node ${spec.nodeName ?? "unknown"} does not answer`;
}
