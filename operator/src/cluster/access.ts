import type { AccessCheck } from "../kernel/kind.ts";
import { AccessDeniedError } from "./errors.ts";
import type { ApiClient } from "./http.ts";

interface Review {
  readonly status?: { readonly allowed?: boolean; readonly reason?: string; readonly evaluationError?: string };
}

/** Questions that are being asked, by their text. */
const asked = new WeakMap<ApiClient, Map<string, Promise<Review>>>();

/** A thousand schedules that are due in the same instant ask the same question: who asks while it is being asked shares the answer. */
function review(client: ApiClient, spec: object): Promise<Review> {
  const open = asked.get(client) ?? new Map<string, Promise<Review>>();
  asked.set(client, open);
  const question = JSON.stringify(spec);
  const known = open.get(question);
  if (known !== undefined) return known;
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
  const path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
  const answer = client.request({ verb: "create", resource: "subjectaccessreviews", method: "POST", path, body, priority: "dispatch" }).finally(() => open.delete(question)) as Promise<Review>;
  open.set(question, answer);
  return answer;
}

/** Asks the API server's authorizers whether a person may do this (`authorization.k8s.io/v1` SubjectAccessReview). Throws AccessDeniedError when not. */
export async function requireAccess(client: ApiClient, check: AccessCheck): Promise<void> {
  const { user, groups, namespace, verb, group, resource, name } = check;
  const answer = await review(client, { user, groups, resourceAttributes: { namespace, verb, group, resource, name } });
  if (answer.status?.allowed !== true) throw new AccessDeniedError(refusalOf(check, answer));
}

function refusalOf({ user, namespace, verb, group, resource, name }: AccessCheck, { status }: Review): string {
  const plural = group === "" ? resource : `${resource}.${group}`;
  const why = [status?.reason, status?.evaluationError].filter((text) => text !== undefined && text !== "").join("; ");
  return (
    `User ${user} may not ${verb} ${plural} ${name} in namespace ${namespace}${why === "" ? "" : ` (${why})`}: ask whoever administers the namespace ` +
    `for a Role with verb ${verb} on ${plural} ${name} and a RoleBinding to you, and check with kubectl auth can-i ${verb} ${plural}/${name} -n ${namespace}`
  );
}
