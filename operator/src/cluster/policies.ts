import type { AdmissionObject } from "@paddock/api/admission/policy";
import { isStatus } from "./errors.ts";
import type { ApiClient } from "./http.ts";

const PLURALS: Readonly<Record<AdmissionObject["kind"], string>> = {
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings",
  MutatingAdmissionPolicy: "mutatingadmissionpolicies",
  MutatingAdmissionPolicyBinding: "mutatingadmissionpolicybindings",
};

/** A live read of a policy or binding, by name as our right is. Throws what `ApiClient.request` throws, but for 404 and 403. */
export async function readAdmissionObject(client: ApiClient, { apiVersion, kind, metadata }: AdmissionObject): Promise<object | "absent" | "forbidden"> {
  const resource = PLURALS[kind];
  try {
    return (await client.request({ verb: "get", resource, method: "GET", path: `/apis/${apiVersion}/${resource}/${encodeURIComponent(metadata.name)}` })) as object;
  } catch (error) {
    if (isStatus(error, 404)) return "absent";
    if (isStatus(error, 403)) return "forbidden";
    throw error;
  }
}
