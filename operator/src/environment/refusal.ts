import type { Environment } from "@paddock/api/environment";
import type { Fault } from "../kernel/kind.ts";
import { type EnvironmentClaim, type Obstacle, overrideUnready } from "./claim.ts";

type Unready = Pick<Obstacle, "reason" | "message">;

/** What a write of an Environment's own objects that failed says to its readers: only what people can cure. */
export function explainFault({ kind, message }: Fault): readonly EnvironmentClaim[] {
  switch (kind) {
    case "name-conflict":
      return overrideUnready({ reason: "NameConflict", message });
    case "forbidden":
      return overrideUnready({ reason: "Forbidden", message });
    case "invalid":
      return overrideUnready({ reason: "Invalid", message });
    default:
      return [];
  }
}

/**
 * What it says that the API server did not take a pod of the Environment in a dry run. An exceeded quota says nothing: it passes when other pods end,
 * and sessions wait for it. Where there was no answer the Environment may not be called Ready.
 */
export function explainRefusal({ metadata, spec }: Environment, { kind, message }: Fault): readonly EnvironmentClaim[] {
  if (kind !== "forbidden" && kind !== "invalid") return overrideUnready({ reason: "Progressing", message: "The API server has not answered yet whether it takes the Environment's pods; it is asked again." });
  // Without the address that was asked.
  const answer = /[Pp]ods? "[^"]*" is (?:forbidden|invalid): ([^]*)$/.exec(message)?.[1] ?? message;
  const refusal = REFUSALS.find(({ says }) => says.test(answer));
  if (refusal === undefined) return overrideUnready({ reason: kind === "invalid" ? "Invalid" : "Forbidden", message: `The API server does not take the Environment's pods: ${answer}` });
  const unready = refusal.explain({ answer, namespace: metadata.namespace, spec });
  return unready === undefined ? [] : overrideUnready(unready);
}

interface Refused {
  readonly answer: string;
  readonly namespace: string;
  readonly spec: Environment["spec"];
}

interface Refusal {
  /** In the API server's words, Kubernetes 1.34 to 1.36. */
  readonly says: RegExp;
  explain(refused: Refused): Unready | undefined;
}

const REFUSALS: readonly Refusal[] = [
  { says: /^(exceeded quota|status unknown for quota): /, explain: () => undefined },
  {
    says: /RuntimeClass "[^"]*" not found/,
    explain: ({ spec }) => ({
      reason: "RuntimeClassNotFound",
      message: `spec.sandbox.runtimeClassName: there is no RuntimeClass ${spec.sandbox?.runtimeClassName ?? ""} in the cluster. Have it installed, or name one that "kubectl get runtimeclasses" shows; the Environment goes on by itself then.`,
    }),
  },
  {
    says: /no PriorityClass with name .* was found/,
    explain: ({ spec }) => ({
      reason: "PriorityClassNotFound",
      message: `spec.scheduling.priorityClassName: there is no PriorityClass ${spec.scheduling?.priorityClassName ?? ""} in the cluster. Have it made, or name one that "kubectl get priorityclasses" shows; the Environment goes on by itself then.`,
    }),
  },
  // The API server's own caches are a moment behind the account that was just made.
  { says: /error looking up service account/, explain: () => ({ reason: "Progressing", message: "Waiting until the API server knows the service account of the pods." }) },
  {
    says: /(maximum|minimum) \S+ usage per (Container|Pod)|max limit to request ratio per/,
    explain: ({ answer, namespace }) => ({
      reason: "Invalid",
      message: `The namespace's LimitRange does not take the Environment's pods: ${answer}. Change spec.runner.resources or spec.sandbox.resources, or the range: kubectl get limitranges -n ${namespace} -o yaml`,
    }),
  },
  {
    says: /violates PodSecurity/,
    explain: ({ answer, namespace }) => ({
      reason: "Forbidden",
      message: `The namespace's Pod Security level does not take the Environment's pods: ${answer}. Look at its labels with kubectl get namespace ${namespace} --show-labels`,
    }),
  },
];
