import type { Session } from "@paddock/api/session";
import type { PodView } from "../sources.ts";
import { conditionOf } from "./claim.ts";
import { leftMs } from "./deadline.ts";
import { describeWait, startedAt } from "./pod-trouble.ts";
import { waitingOf } from "./pods.ts";

/** A registry may be away for a while; an image that is not there for so long is not coming. */
const PATIENCE_MS = 300_000;

/** People hear of it before it ends their session. */
const AFTER_TELLING_MS = 30_000;

const PULL_REASONS: ReadonlySet<string> = new Set(["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed", "ImageInspectError"]);

/** An image that does not come. `wait`: what the pod waits for, in a sentence; `leftMs`: how long until it is looked at again. */
export type ImageTrouble = { readonly kind: "Failed"; readonly wait: string; readonly leftMs?: undefined } | { readonly kind: "Waited"; readonly leftMs: number };

/** Undefined when the pod's image is no trouble. `self`: what it has told so far. Pure. */
export function imageTroubleOf(self: Session, pod: PodView, now: Date): ImageTrouble | undefined {
  const reason = waitingOf(pod)?.reason ?? "";
  const failed: ImageTrouble = { kind: "Failed", wait: describeWait(pod, now) ?? "" };
  if (reason === "InvalidImageName") return failed;
  if (!PULL_REASONS.has(reason)) return undefined;
  const left = leftMs(startedAt(pod), PATIENCE_MS, now);
  if (left > 0) return { kind: "Waited", leftMs: left };
  const isTold = conditionOf(self, "Succeeded")?.message.startsWith(`Pod ${pod.metadata.name} is waiting: `) === true;
  return isTold ? failed : { kind: "Waited", leftMs: AFTER_TELLING_MS };
}

/** The message of ImagePullFailed. Pure. */
export function describeImageFailure(wait: string, image: string, fix: string): string {
  return `Image ${image} could not be pulled. ${wait}. ${fix}, then create the Session again.`;
}
