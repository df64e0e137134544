import { z } from "zod";
import { eventData } from "../log/events.ts";
import { USAGE_GROUPS } from "../wire/people.ts";
import { PROBLEM_BASE } from "../wire/problem.ts";
import { peopleSchemas } from "./people.ts";

type Json = Readonly<Record<string, unknown>>;
type SchemaName = keyof typeof peopleSchemas;

const COMPONENTS = "#/components/schemas/";
const refTo = (name: SchemaName): Json => ({ $ref: `${COMPONENTS}${name}` });
const asJson = (name: SchemaName): Json => ({ "application/json": { schema: refTo(name) } });

/** OpenAPI 3.1 document of every route that people may call, from the schemas that the gateway itself checks by. Pure. */
export function buildOpenApi(): Json {
  return {
    openapi: "3.1.0",
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    info: {
      title: "Paddock gateway",
      version: "1",
      description:
        "Read the logs of sessions, talk to sessions, and read what they used. Approvals are not decided here but on Approval objects at the API server. Shapes only grow: ignore members that you do not know.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "https://{host}:8443", description: "The Service paddock-gateway, an Ingress or a port-forward to it.", variables: { host: { default: "localhost" } } }],
    security: [{ kubernetes: [] }],
    paths: {
      "/healthz": { get: health },
      "/v1/openapi.json": { get: document },
      "/v1/namespaces/{namespace}/sessions/{name}/events": { parameters: sessionParameters, get: readEvents, post: appendEvent },
      "/v1/namespaces/{namespace}/sessions/{name}/blobs/{sha256}": { parameters: [...sessionParameters, digestParameter], get: readBlob },
      "/v1/namespaces/{namespace}/usage": { parameters: [namespaceParameter], get: readUsage },
    },
    components: {
      securitySchemes: {
        kubernetes: {
          type: "http",
          scheme: "bearer",
          description: "A token that the cluster's API server accepts, e.g. of `kubectl create token NAME`. What it may do is what Kubernetes' RBAC says: get and create on sessions/events, list on sessions.",
        },
      },
      responses: { Problem: { description: "Refused.", content: { "application/problem+json": { schema: refTo("Problem") } } }, TooMany: tooMany },
      schemas: buildComponents(),
    },
  };
}

function buildComponents(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(peopleSchemas)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { uri: (id) => `${COMPONENTS}${id}`, io: "input" });
  return Object.fromEntries(Object.entries(schemas).map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema]));
}

const path = (name: string, description: string, schema: Json = { type: "string" }): Json => ({ name, in: "path", required: true, description, schema });
const query = (name: string, description: string, schema: Json): Json => ({ name, in: "query", required: false, description, schema });

const namespaceParameter = path("namespace", "Namespace of the sessions.");
const digestParameter = path("sha256", "The member sha256 of an event's data.blob.", { type: "string", pattern: "^sha256:[0-9a-f]{64}$" });
const sessionParameters = [
  namespaceParameter,
  path("name", "Name of the Session."),
  query("uid", "UID of an older Session of that name; absent means the newest.", { type: "string" }),
];

const tooMany: Json = {
  description: "The caller asks too often, or has too many streams open.",
  headers: { "Retry-After": { description: "Seconds after which asking again may help.", schema: { type: "integer", minimum: 1 } } },
  content: { "application/problem+json": { schema: refTo("Problem") } },
};

/** Every route refuses with problem details; `more` are statuses that are this route's own. */
function responses(success: Json, more: Readonly<Record<string, string>> = {}): Json {
  const refusals = { "401": "no valid token", "403": "a right is missing", "503": "the API server cannot be asked", ...more };
  const problems = Object.entries(refusals).map(([status, description]) => [status, { description, content: { "application/problem+json": { schema: refTo("Problem") } } }] as const);
  return { "200": success, ...Object.fromEntries(problems), "429": { $ref: "#/components/responses/TooMany" }, default: { $ref: "#/components/responses/Problem" } };
}

const health: Json = {
  operationId: "health",
  summary: "Whether the gateway serves. The only route without a token.",
  security: [],
  responses: { "200": { description: "It does.", content: { "text/plain": { schema: { type: "string", const: "ok" } } } }, default: { $ref: "#/components/responses/Problem" } },
};

const document: Json = {
  operationId: "openapi",
  summary: "This document.",
  responses: responses({ description: "OpenAPI 3.1.", content: { "application/json": { schema: { type: "object" } } } }),
};

const STREAM =
  "Server-sent events. First `event: state` with a StateView and no id, then `event: log` with a LogEvent each and id `<uid>:<seq>`, from `Last-Event-ID` or `after` on and then live; " +
  "`event: delta` with a Delta and no id while the model streams; `event: end` after run.finished. Comments keep the connection alive. A reader that takes nothing is cut: connect again with `Last-Event-ID`.";

const readEvents: Json = {
  operationId: "readEvents",
  summary: "A session's log, as a page or as a stream that goes on live.",
  description: "Takes the right get on sessions/events. A page may hold fewer events than limit when they are large: go on after the last one's seq until a page is empty.",
  parameters: [
    query("after", "Only events with a larger sequence number.", { type: "integer", minimum: 0, default: 0 }),
    query("limit", "Most events of a page.", { type: "integer", minimum: 1, maximum: 1000, default: 200 }),
    { ...query("types", "Only events of these types.", { type: "array", items: { type: "string", enum: Object.keys(eventData) } }), style: "form", explode: false },
    { name: "Last-Event-ID", in: "header", required: false, description: "Id of the last event of a stream that was cut: it goes on after it.", schema: { type: "string" } },
  ],
  responses: responses({ description: "Events in order.", content: { ...asJson("EventPage"), "text/event-stream": { schema: { type: "string", description: STREAM } } } }, { "400": "a parameter is malformed", "404": "no log of such a session", "409": "the stored log is damaged" }),
};

const appendEvent: Json = {
  operationId: "appendEvent",
  summary: "Send a message, interrupt what is under way, or give the result of a custom tool.",
  description: "Takes the right create on sessions/events.",
  parameters: [
    {
      name: "Idempotency-Key",
      in: "header",
      required: false,
      description: "Names a message or an interrupt: the same key by the same person again is the same one. Absent means a new one.",
      schema: { type: "string", pattern: "^[\\x21-\\x7e]{1,200}$" },
    },
  ],
  requestBody: { required: true, content: asJson("PersonAppend") },
  responses: responses(
    { description: "The event as stored, now or the first time.", content: asJson("PersonAppendReply") },
    { "400": "the body or the key is malformed", "404": "no log of such a session", "409": `the session does not take it now: ${PROBLEM_BASE}finished, stopped, unexpected, conflict, limit or corrupt`, "413": "the body is too large" },
  ),
};

const readBlob: Json = {
  operationId: "readBlob",
  summary: "A payload that was too large for its event.",
  description: "Takes the right get on sessions/events. Readable only through a session with an event that references it.",
  responses: responses({ description: "UTF-8; JSON when the reference's mediaType says so.", content: { "text/plain": { schema: { type: "string" } } } }, { "400": "the digest is malformed", "404": "no event of the session references it" }),
};

const readUsage: Json = {
  operationId: "readUsage",
  summary: "What the namespace's sessions used, from a ledger that outlives them.",
  description: "Takes the right list on sessions.",
  parameters: [
    query("from", "First UTC day; absent means 29 days before `to`.", { type: "string", format: "date" }),
    query("to", "Last UTC day; absent means today. At most 366 days from `from` on.", { type: "string", format: "date" }),
    { ...query("by", "What is summed apart.", { type: "array", items: { type: "string", enum: USAGE_GROUPS }, default: ["day"] }), style: "form", explode: false },
    query("agent", "Only sessions of this Agent.", { type: "string", maxLength: 253 }),
    query("environment", "Only sessions of this Environment.", { type: "string", maxLength: 253 }),
  ],
  responses: responses({ description: "Sums.", content: asJson("UsagePage") }, { "400": "a parameter is malformed" }),
};
