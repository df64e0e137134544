import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiAnswer } from "./api-server.ts";
import { createReviewer, MAX_ASKED } from "./review.ts";
import type { Reviewer } from "./review.ts";

// What an API server may answer that the shared fake never does; its ordinary answers are tested through the server.

interface Setting {
  readonly reviewer: Reviewer;
  readonly asked: readonly { readonly spec: { readonly audiences?: readonly string[] } }[];
  readonly reports: readonly unknown[];
}

function reviewerOf(answer: () => ApiAnswer): Setting {
  const asked: { spec: { audiences?: readonly string[] } }[] = [];
  const reports: unknown[] = [];
  const send = async (...[, , , body]: readonly [unknown, string, string, unknown]): Promise<ApiAnswer> => {
    asked.push(body as { spec: { audiences?: readonly string[] } });
    return answer();
  };
  return { reviewer: createReviewer({ api: { send }, acceptedMs: 60_000, count: () => undefined, report: (error) => reports.push(error) }), asked, reports };
}

function tokenFor(aud: unknown): string {
  return `x.${Buffer.from(JSON.stringify({ aud })).toString("base64url")}.x`;
}

const accepted = (status: object): ApiAnswer => ({ status: 201, body: { status: { authenticated: true, user: { username: "ann" }, ...status } } });

test("a token for the gateway proves nothing when the answer names no audience", async () => {
  for (const status of [{}, { audiences: [] }, { audiences: ["https://kubernetes.default.svc"] }]) {
    const { reviewer, asked } = reviewerOf(() => accepted(status));
    assert.deepEqual(await reviewer.reviewToken(tokenFor(["paddock-gateway"])), { kind: "rejected" });
    assert.deepEqual(asked[0]?.spec.audiences, ["paddock-gateway"]);
  }
  const { reviewer } = reviewerOf(() => accepted({ audiences: ["paddock-gateway"] }));
  const reviewed = await reviewer.reviewToken(tokenFor("paddock-gateway"));
  assert.equal(reviewed.kind === "identity" && reviewed.identity.forGateway, true);
});

test("any other token is reviewed for the API server itself", async () => {
  for (const token of [tokenFor(["https://kubernetes.default.svc"]), "opaque", "x.!.x", "x."]) {
    const { reviewer, asked } = reviewerOf(() => accepted({ audiences: ["https://kubernetes.default.svc"] }));
    const reviewed = await reviewer.reviewToken(token);
    assert.equal(reviewed.kind === "identity" && !reviewed.identity.forGateway, true);
    assert.equal(asked[0]?.spec.audiences, undefined);
  }
});

test("an answer without a user is a rejection", async () => {
  for (const status of [{ authenticated: false }, { user: {} }, { authenticated: false, user: undefined }]) {
    const { reviewer } = reviewerOf(() => accepted(status));
    assert.deepEqual(await reviewer.reviewToken("opaque"), { kind: "rejected" });
  }
});

test("an answer that is no review is reported, refuses nobody for good, and is not kept", async () => {
  let answer: ApiAnswer = { status: 403, body: { message: "tokenreviews is forbidden" } };
  const { reviewer, reports } = reviewerOf(() => answer);
  assert.deepEqual(await reviewer.reviewToken("opaque"), { kind: "unavailable" });
  assert.match(String(reports[0]), /status 403: tokenreviews is forbidden/);
  answer = accepted({});
  const reviewed = await reviewer.reviewToken("opaque");
  assert.equal(reviewed.kind, "identity");
  if (reviewed.kind !== "identity") return;
  answer = { status: 500, body: undefined };
  assert.equal(await reviewer.reviewAccess(reviewed.identity, { verb: "get", namespace: "team", name: "job", subresource: "events" }), "unavailable");
  answer = { status: 201, body: { status: { allowed: true } } };
  assert.equal(await reviewer.reviewAccess(reviewed.identity, { verb: "get", namespace: "team", name: "job", subresource: "events" }), "allowed");
});

test("a flood of tokens is not passed on to the API server, and passes", async () => {
  const { promise: go, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const send = async (): Promise<ApiAnswer> => {
    asked += 1;
    await go;
    return accepted({});
  };
  const reviewer = createReviewer({ api: { send }, acceptedMs: 60_000, count: () => undefined, report: () => undefined });
  const flood = Array.from({ length: MAX_ASKED + 50 }, (_, index) => reviewer.reviewToken(`token-${index}`));
  assert.deepEqual(await flood.at(-1), { kind: "unavailable" });
  resolve();
  const kinds = (await Promise.all(flood)).map(({ kind }) => kind);
  assert.deepEqual([asked, kinds.filter((kind) => kind === "unavailable").length], [MAX_ASKED, 50]);
  assert.equal((await reviewer.reviewToken(`token-${MAX_ASKED + 49}`)).kind, "identity");
});
