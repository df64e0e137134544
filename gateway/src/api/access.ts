import type { Context } from "hono";
import type { EventVerb } from "../auth/review.ts";
import type { StoredRecord } from "../store/store.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";

/** A session as people name it. */
export interface SessionName {
  readonly namespace: string;
  readonly name: string;
}

/** Throws ProblemError unless the caller may do this with the session's events. */
export async function requireAccess({ reviewer }: ApiPorts, context: Context<ApiEnv>, verb: EventVerb, { namespace, name }: SessionName): Promise<void> {
  const identity = context.get("identity");
  const access = await reviewer.reviewAccess(identity, { verb, namespace, name });
  if (access === "allowed") return;
  if (access === "unavailable") throw new ProblemError("unavailable", "the Kubernetes API server could not check your rights: try again in a few seconds");
  throw new ProblemError(
    "forbidden",
    `${identity.username} may not ${verb} sessions/events of paddock.dev in namespace ${namespace}: ask its administrator for a role with verb ${verb} on resource sessions/events, e.g. the role paddock-user`,
  );
}

/** The record of the newest session of that name, or of the one with the uid in the query. Throws ProblemError when there is none. */
export async function requireSession({ store }: ApiPorts, context: Context<ApiEnv>, { namespace, name }: SessionName): Promise<StoredRecord> {
  const uid = context.req.query("uid");
  const record = await store.recordNamed(namespace, name, uid);
  if (record !== undefined) return record;
  const which = uid === undefined ? "" : ` with uid ${uid.slice(0, 64)}`;
  throw new ProblemError("not-found", `namespace ${namespace} has no log of a session ${name}${which}: it begins when the session's Agent and Environment are there; see kubectl get sessions -n ${namespace}`);
}
