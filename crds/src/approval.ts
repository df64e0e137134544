import { z } from "zod";
import { MAX_AUTHORS } from "./log/limits.ts";
import { approvalName } from "./names.ts";
import { objectName } from "./refs.ts";
import { matching } from "./text.ts";
import type { BaseStatus, Resource } from "./object.ts";

const shortText = (description: string, max = 253) => z.string().min(1).max(max).describe(description);
/** User name as the API server knows it; as long as the session log takes them. */
const userName = (description: string) => shortText(description, 1024);
const time = (description: string) => z.string().max(64).meta({ description, format: "date-time" });
const digest = (description: string) => matching("^sha256:[0-9a-f]{64}$", 80, { description, hint: "write sha256: and 64 lower-case hexadecimal digits" });

export const approvalSpecSchema = z
  .object({
    sessionRef: z
      .object({ name: objectName("name of the Session; required."), uid: shortText("uid of the Session; required.", 64) })
      .describe("sessionRef names the Session whose call waits; required."),
    agentName: objectName("agentName of the Session's Agent; required."),
    call: shortText("call that waits, as the session log names it; required.", 128),
    tool: shortText("tool that is called; required.", 256),
    fingerprint: digest("fingerprint of agent, tool and arguments that the decision is for; required."),
    argumentsSummary: z.string().max(2048).describe("argumentsSummary shows the arguments to people, escaped; required."),
    argumentsDigest: digest("argumentsDigest is the digest of the whole arguments; required."),
    requesters: z
      .array(userName("requesters entry: a user name."))
      .max(MAX_AUTHORS + 1)
      .meta({ description: "requesters are the users who asked for the work; required, may be empty.", "x-kubernetes-list-type": "set" }),
    allowRequester: z.boolean().describe("allowRequester lets requesters decide; required."),
    allowServiceAccounts: z.boolean().describe("allowServiceAccounts lets service accounts decide; required."),
    requestedAt: time("requestedAt is when the call was decided to need approval, RFC 3339; required."),
    expiresAt: time("expiresAt is when waiting ends as a denial, RFC 3339; required."),
    traceID: matching("^[0-9a-f]{32}$", 32, { description: "traceID of the session, 32 hexadecimal digits; required.", hint: "write 32 lower-case hexadecimal digits" }),
  })
  .meta({
    description: "spec is one tool call that waits for a decision, written once by the operator.",
    "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "field is immutable: it is what the decision is about; only status.decision may be written" }],
  });

export const approvalStatusSchema = z.object({
  decision: z
    .object({
      decision: z.enum(["Approved", "Denied"]).describe("decision on the call; required."),
      decidedBy: userName("decidedBy is the user name of who decides, as the API server knows it (kubectl auth whoami); required."),
      argumentsDigest: digest("argumentsDigest is the digest of the arguments that the decision is about, refused unless it is spec.argumentsDigest; absent means that one.").optional(),
      reason: z.string().max(1024).describe("reason that the model is told; absent means none.").optional(),
      scope: z.enum(["Once", "Session"]).describe("scope of an approval: this call or every equal call of the session; absent means Once.").optional(),
      at: time("at is when it was decided, RFC 3339, as whoever decides says; absent means not said.").optional(),
    })
    .describe("decision of a person; absent while the call waits.")
    .optional(),
});

export type ApprovalSpec = z.infer<typeof approvalSpecSchema>;
export type ApprovalStatus = BaseStatus & Readonly<z.infer<typeof approvalStatusSchema>>;
export type Approval = Resource<ApprovalSpec, ApprovalStatus>;

/** Whether an Approval is what it says: under the name of its call, and controlled by the Session that it names. All others are nobody's and count for nothing. Pure. */
export function isGenuine({ metadata, spec }: Pick<Approval, "metadata" | "spec">): boolean {
  const { name, uid } = spec.sessionRef;
  const isOwned = metadata.ownerReferences?.some((owner) => owner.kind === "Session" && owner.uid === uid && owner.controller === true) === true;
  return isOwned && metadata.name === approvalName(name, spec.call);
}

/** Whether it is over with the call's waiting, by whatever the condition's reason says. */
export function isResolved({ status }: Pick<Approval, "status">): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === "Resolved" && value === "True") === true;
}
