import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { send } from "../../../test/fakes/client.ts";
import type { Reply } from "../../../test/fakes/client.ts";
import { startLocalGateway } from "../../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../../test/fakes/gateway.ts";
import { buildApp } from "./app.ts";
import type { ApiPorts } from "./ports.ts";

// Every route, with no token and with tokens of each role.

type Role = "operator" | "runner" | "person";

interface Route {
  readonly method: string;
  readonly path: string;
}

/** Who gets past the door; a person and whoever else comes as one is then asked for Kubernetes' rights. */
const DOORS: readonly { readonly prefix: string; readonly roles: readonly Role[] }[] = [
  { prefix: "/v1/openapi.json", roles: ["operator", "runner", "person"] },
  { prefix: "/v1/records", roles: ["operator"] },
  { prefix: "/v1/pods", roles: ["operator"] },
  { prefix: "/v1/budgets", roles: ["operator"] },
  { prefix: "/v1/runner", roles: ["runner"] },
  { prefix: "/v1/namespaces", roles: ["person"] },
];

const { routes: registered } = buildApp({} as ApiPorts);
const routes: readonly Route[] = registered
  .filter(({ method }) => method !== "ALL")
  .map(({ method, path }) => ({ method, path: path.replace(":namespace", "team").replace(":sha256", `sha256:${"0".repeat(64)}`).replaceAll(/:[a-z]+/g, "x") }));

let gateway: LocalGateway;
let tokens: Readonly<Record<Role, string>>;

before(async () => {
  gateway = await startLocalGateway();
  const { reviews } = gateway;
  tokens = {
    operator: reviews.operatorToken(),
    runner: reviews.runnerToken({ namespace: "team", podUid: "p", podName: "p" }),
    person: reviews.personToken("ann", ["team"], ["get", "create", "list"]),
  };
});
after(() => gateway.close());

async function ask({ method, path }: Route, token?: string): Promise<Reply> {
  return send(gateway, { method, path, ...(token === undefined ? {} : { token }), ...(method === "GET" || method === "DELETE" ? {} : { body: {} }) });
}

/** Streams answer 200 and go on: who may open them is tried elsewhere. */
function isStream({ method, path }: Route): boolean {
  return method === "GET" && (path === "/v1/records" || path === "/v1/runner");
}

test("the walk sees every route", () => {
  const seen = new Set(routes.map(({ method, path }) => `${method} ${path}`));
  assert.ok(seen.size >= 15, [...seen].join("\n"));
  for (const { path } of routes.filter(({ path }) => path !== "/healthz")) assert.ok(DOORS.some(({ prefix }) => path.startsWith(prefix)), `${path} has no door in this test`);
});

test("nothing but /healthz is served without a token, or with one that nobody knows", async () => {
  for (const route of routes) {
    const expected = route.path === "/healthz" ? 200 : 401;
    assert.equal((await ask(route)).status, expected, `${route.method} ${route.path}`);
    assert.equal((await ask(route, "unknown")).status, expected, `${route.method} ${route.path}`);
  }
  for (const path of ["/", "/metrics", "/v1", "/v2/records", "/healthz/x"]) assert.ok([401, 404].includes((await ask({ method: "GET", path })).status), path);
});

test("each role gets past its own doors only", async () => {
  for (const route of routes.filter(({ path }) => path !== "/healthz")) {
    const roles = DOORS.find(({ prefix }) => route.path.startsWith(prefix))?.roles ?? [];
    for (const role of ["operator", "runner", "person"] as const) {
      if (roles.includes(role) && isStream(route)) continue;
      const { status } = await ask(route, tokens[role]);
      assert.equal(status !== 403, roles.includes(role), `${role} ${route.method} ${route.path} got ${status}`);
    }
  }
});

test("a person without any right reaches no session and no usage", async () => {
  const nobody = gateway.reviews.personToken("nobody", []);
  for (const route of routes.filter(({ path }) => path.startsWith("/v1/namespaces"))) assert.equal((await ask(route, nobody)).status, 403, `${route.method} ${route.path}`);
});
