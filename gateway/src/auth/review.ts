import { createHash } from "node:crypto";
import { z } from "zod";
import { GROUP, VERSION } from "@paddock/api/group";
import { canonicalJson } from "@paddock/api/log/canonical";
import { GATEWAY_AUDIENCE } from "@paddock/api/names";
import type { ApiServer } from "./api-server.ts";
import { createExpiringCache } from "./cache.ts";

const REJECTED_MS = 5_000;
const KEPT_ANSWERS = 10_000;
/** Questions to the API server at a time; it answers a few hundred in a second, and more would only wait. */
export const MAX_ASKED = 256;

/** Who a token belongs to, as the API server says. `audiences` are those of ours that the token is good for. */
export interface Identity {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
  /** True when the token was issued for the gateway and not for the API server. */
  readonly forGateway: boolean;
}

/** What the API server answered about a caller; `unknown` when it could not be asked. */
export type Reviewed = { readonly kind: "identity"; readonly identity: Identity } | { readonly kind: "rejected" } | { readonly kind: "unavailable" };

export interface Reviewer {
  /** Whose token this is. Never throws. */
  reviewToken(token: string): Promise<Reviewed>;
  /** May they do this with sessions of the namespace? Asked as themselves. Never throws. */
  reviewAccess(identity: Identity, wanted: Access): Promise<"allowed" | "denied" | "unavailable">;
}

/** On `sessions/events` of one session, `get` reads its log and `create` adds to it; `list` on `sessions` themselves is all of a namespace. */
export type Access =
  | { readonly verb: "get" | "create"; readonly namespace: string; readonly name: string; readonly subresource: "events" }
  | { readonly verb: "list"; readonly namespace: string };

export interface ReviewerPorts {
  readonly api: Pick<ApiServer, "send">;
  /** How long what was accepted is believed, in milliseconds. */
  readonly acceptedMs: number;
  count(result: Reviewed["kind"]): void;
  /** Told why the API server could not be asked. */
  report(error: unknown): void;
}

const extra = z.record(z.string(), z.array(z.string()));
const tokenReview = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    audiences: z.array(z.string()).optional(),
    user: z
      .object({ username: z.string().optional(), uid: z.string().optional(), groups: z.array(z.string()).optional(), extra: extra.optional() })
      .optional(),
  }),
});
const accessReview = z.object({ status: z.object({ allowed: z.boolean() }) });

export function createReviewer(unbounded: ReviewerPorts): Reviewer {
  const ports = { ...unbounded, api: boundQuestions(unbounded.api) };
  const tokens = createExpiringCache<Reviewed>(KEPT_ANSWERS);
  const keptMs = { identity: ports.acceptedMs, allowed: ports.acceptedMs, rejected: REJECTED_MS, denied: REJECTED_MS, unavailable: 0 } as const;
  const accesses = createExpiringCache<"allowed" | "denied" | "unavailable">(KEPT_ANSWERS);
  return {
    reviewToken: (token) =>
      tokens.get(keyOf(token), async () => {
        const reviewed = await askToken(ports, token);
        ports.count(reviewed.kind);
        return { value: reviewed, keepMs: keptMs[reviewed.kind], isMinor: reviewed.kind !== "identity" };
      }),
    reviewAccess: (identity, wanted) =>
      accesses.get(keyOf(canonicalJson([identity, wanted])), async () => {
        const value = await askAccess(ports, identity, wanted);
        return { value, keepMs: keptMs[value], isMinor: value !== "allowed" };
      }),
  };
}

/** Refuses to ask while too many wait for their answers: a flood of tokens must not pile up here, nor at the API server. */
function boundQuestions({ send }: ReviewerPorts["api"]): ReviewerPorts["api"] {
  let asked = 0;
  return {
    send: async (...question) => {
      if (asked >= MAX_ASKED) throw new Error(`${asked} reviews wait for the API server's answer: more are not asked`);
      asked += 1;
      try {
        return await send(...question);
      } finally {
        asked -= 1;
      }
    },
  };
}

/** Caches hold digests, not tokens. */
function keyOf(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

async function askToken({ api, report }: ReviewerPorts, token: string): Promise<Reviewed> {
  const forGateway = claimsGateway(token);
  const spec = forGateway ? { token, audiences: [GATEWAY_AUDIENCE] } : { token };
  try {
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec };
    const { status, body } = await api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "application/json", review);
    const answer = tokenReview.safeParse(body);
    if (!answer.success) throw new Error(`the API server answered a TokenReview with status ${status}: ${messageOf(body)}`);
    return readReview(answer.data.status, forGateway);
  } catch (error) {
    report(error);
    return { kind: "unavailable" };
  }
}

function readReview({ authenticated, audiences, user }: z.infer<typeof tokenReview>["status"], forGateway: boolean): Reviewed {
  if (authenticated !== true || user?.username === undefined) return { kind: "rejected" };
  // An authenticator that knows no audiences leaves them out: then the token proves nothing about ours.
  if (forGateway && audiences?.includes(GATEWAY_AUDIENCE) !== true) return { kind: "rejected" };
  const { username, uid = "", groups = [] } = user;
  return { kind: "identity", identity: { username, uid, groups, extra: user.extra ?? {}, forGateway } };
}

async function askAccess({ api, report }: ReviewerPorts, { username, uid, groups, extra: more }: Identity, wanted: Access) {
  const resourceAttributes = { ...wanted, group: GROUP, version: VERSION, resource: "sessions" };
  const review = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec: { user: username, uid, groups, extra: more, resourceAttributes } };
  try {
    const { status, body } = await api.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "application/json", review);
    const answer = accessReview.safeParse(body);
    if (!answer.success) throw new Error(`the API server answered a SubjectAccessReview with status ${status}: ${messageOf(body)}`);
    return answer.data.status.allowed ? "allowed" : "denied";
  } catch (error) {
    report(error);
    return "unavailable";
  }
}

/** Which audience to ask for. The token's own word is only a hint here: the API server's answer is what counts. */
function claimsGateway(token: string): boolean {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
    const { aud } = z.object({ aud: z.union([z.string(), z.array(z.string())]) }).parse(payload);
    return aud === GATEWAY_AUDIENCE || aud.includes(GATEWAY_AUDIENCE);
  } catch {
    return false;
  }
}

function messageOf(body: unknown): string {
  const message = z.object({ message: z.string() }).safeParse(body);
  return message.success ? message.data.message : "no message";
}
