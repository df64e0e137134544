import assert from "node:assert/strict";
import { test } from "node:test";
import { startReviews } from "../../../test/fakes/reviews.ts";
import { connectApiServer } from "./api-server.ts";

const PATH = "/api/v1/namespaces/paddock-system/configmaps/paddock-gateway-ca";

test("a token that was renewed is read again at once", async (context) => {
  const reviews = await startReviews();
  context.after(() => reviews.close());
  const api = connectApiServer(reviews.options);
  context.after(() => api.close());
  const patch = () => api.send("PATCH", PATH, "application/merge-patch+json", { data: { a: "1" } });
  assert.equal((await patch()).status, 200);
  await reviews.rotateOwnToken();
  assert.equal((await patch()).status, 200);
});

test("any status is an answer, and an address where nobody listens is an error", async (context) => {
  const reviews = await startReviews();
  const api = connectApiServer(reviews.options);
  context.after(() => api.close());
  assert.equal((await api.send("POST", "/nothing", "application/json", {})).status, 404);
  await reviews.close();
  await assert.rejects(api.send("POST", "/nothing", "application/json", {}));
});
