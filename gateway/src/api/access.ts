import type { Context } from "hono";
import type { Access } from "../auth/review.ts";
import type { StoredRecord } from "../store/store.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";

/** A session as people name it. */
export interface SessionName {
  readonly namespace: string;
  readonly name: string;
}

/** The session that the path names. */
export function sessionOf(context: Context<ApiEnv, "/:namespace/sessions/:name/*">): SessionName {
  return { namespace: context.req.param("namespace"), name: context.req.param("name") };
}

/** Throws ProblemError unless the caller may do this with the session's events. */
export async function requireAccess(ports: ApiPorts, context: Context<ApiEnv>, verb: "get" | "create", { namespace, name }: SessionName): Promise<void> {
  await requireReview(ports, context, { verb, namespace, name, subresource: "events" });
}

/** Throws ProblemError unless the caller may list the namespace's sessions. */
export async function requireList(ports: ApiPorts, context: Context<ApiEnv>, namespace: string): Promise<void> {
  await requireReview(ports, context, { verb: "list", namespace });
}

async function requireReview({ reviewer }: ApiPorts, context: Context<ApiEnv>, wanted: Access): Promise<void> {
  const identity = context.get("identity");
  const access = await reviewer.reviewAccess(identity, wanted);
  if (access === "allowed") return;
  if (access === "unavailable") throw new ProblemError("unavailable", "the Kubernetes API server could not check your rights: try again in a few seconds", { retryAfterMs: 2000 });
  const { verb, namespace } = wanted;
  const resource = "subresource" in wanted ? "sessions/events" : "sessions";
  throw new ProblemError(
    "forbidden",
    `${identity.username} may not ${verb} ${resource} of paddock.dev in namespace ${namespace}: ask its administrator for a role with verb ${verb} on resource ${resource}, e.g. the role paddock-user`,
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
