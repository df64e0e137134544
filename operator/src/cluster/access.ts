import type { AccessCheck } from "../kernel/kind.ts";
import { AccessDeniedError } from "./errors.ts";
import type { ApiClient } from "./http.ts";

interface Review {
  readonly status?: { readonly allowed?: boolean; readonly reason?: string; readonly evaluationError?: string };
}

/** Asks the API server's authorizers whether a person may do this (`authorization.k8s.io/v1` SubjectAccessReview). Throws AccessDeniedError when not. */
export async function requireAccess(client: ApiClient, check: AccessCheck): Promise<void> {
  const { user, groups, namespace, verb, group, resource, name } = check;
  const body = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: { user, groups, resourceAttributes: { namespace, verb, group, resource, name } },
  };
  const path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
  const review = (await client.request({ verb: "create", resource: "subjectaccessreviews", method: "POST", path, body, priority: "dispatch" })) as Review;
  if (review.status?.allowed !== true) throw new AccessDeniedError(refusalOf(check, review));
}

function refusalOf({ user, namespace, verb, group, resource, name }: AccessCheck, { status }: Review): string {
  const plural = group === "" ? resource : `${resource}.${group}`;
  const why = [status?.reason, status?.evaluationError].filter((text) => text !== undefined && text !== "").join("; ");
  return (
    `User ${user} may not ${verb} ${plural} ${name} in namespace ${namespace}${why === "" ? "" : ` (${why})`}: ask whoever administers the namespace ` +
    `for a Role with verb ${verb} on ${plural} ${name} and a RoleBinding to you, and check with kubectl auth can-i ${verb} ${plural}/${name} -n ${namespace}`
  );
}
