import { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { buildOpenApi } from "@paddock/api/schema/openapi";
import { decideCaller } from "../auth/roles.ts";
import { LogCorruptError } from "../store/store.ts";
import { messageRoutes } from "./messages.ts";
import { operatorRoutes } from "./operator.ts";
import { peopleRoutes } from "./people.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError, problemResponse } from "./problem.ts";
import { runnerRoutes } from "./runner.ts";

const OPENAPI = buildOpenApi();
const MAX_TOKEN_CHARS = 16_384;

/** Every route of the gateway: all but `GET /healthz` need a caller whom the API server knows. */
export function buildApp(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get("/healthz", async (context) => {
    await ports.store.check();
    return context.text("ok");
  });
  app.use("/v1/*", identify(ports));
  app.get("/v1/openapi.json", (context) => context.json(OPENAPI));
  app.route("/v1", operatorRoutes(ports));
  app.route("/v1/runner", runnerRoutes(ports));
  app.route("/v1/namespaces", peopleRoutes(ports));
  app.route("/v1/namespaces", messageRoutes(ports));
  app.notFound((context) => problemResponse(new ProblemError("not-found", `nothing is served at ${context.req.method} ${context.req.path.slice(0, 200)}`)));
  app.onError(async (error, context) => {
    const { method, path } = context.req;
    // Too late to answer otherwise: the stream was open.
    if (context.env.outgoing.headersSent) return RESPONSE_ALREADY_SENT;
    if (error instanceof ProblemError) {
      ports.logger.debug({ problem: error.problem, detail: error.message, method, path }, "request refused");
      return problemResponse(error);
    }
    if (error instanceof LogCorruptError) {
      await ports.damage.report(error);
      return problemResponse(new ProblemError("corrupt", `the stored log of session ${error.uid} is damaged (${error.message}): the session has ended with LogCorrupt, others are not touched; ask who runs the gateway for a backup`));
    }
    ports.logger.error({ err: error, method, path }, "request failed");
    return problemResponse(new ProblemError("internal", "the gateway failed to serve the request: try again, its log says more"));
  });
  return app;
}

/** Finds out who calls, or refuses. */
function identify({ reviewer, operatorUser, gate }: ApiPorts): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    const token = tokenOf(context.req.header("authorization"));
    const reviewed = await reviewer.reviewToken(token);
    if (reviewed.kind === "unavailable") throw new ProblemError("unavailable", "the Kubernetes API server could not check the token: try again in a few seconds", { retryAfterMs: 2000 });
    if (reviewed.kind === "rejected") {
      throw new ProblemError("unauthenticated", "the Kubernetes API server does not accept this token: it is wrong or expired; get one, e.g. by `kubectl create token NAME`");
    }
    context.set("token", token);
    context.set("identity", reviewed.identity);
    const caller = decideCaller(reviewed.identity, operatorUser);
    context.set("caller", caller);
    gate(caller, context.req.path);
    await next();
  };
}

function tokenOf(header: string | undefined): string {
  const token = /^Bearer ([\x21-\x7e]+)$/i.exec(header ?? "")?.[1];
  if (token === undefined || token.length > MAX_TOKEN_CHARS) {
    throw new ProblemError("unauthenticated", "send a Kubernetes token as `Authorization: Bearer TOKEN`, e.g. one made by `kubectl create token NAME`");
  }
  return token;
}
