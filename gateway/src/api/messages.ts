import { randomUUID } from "node:crypto";
import { Hono } from "hono";
import type { Context } from "hono";
import type { NewEvent } from "@paddock/api/log/events";
import { personAppendSchema } from "@paddock/api/wire/people";
import type { PersonAppend, PersonAppendReply } from "@paddock/api/wire/people";
import { requireAccess, requireSession, sessionOf } from "./access.ts";
import type { SessionName } from "./access.ts";
import { readBody } from "./body.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";

/** A custom tool's result has at most 1 Mi characters, and a control character takes six bytes of JSON. */
const MAX_BODY_BYTES = 7 * 1024 * 1024;
/** Names of people are kept with what they send; what Kubernetes itself makes is far shorter. */
const MAX_USERNAME_CHARS = 1024;
const KEY = /^[\x21-\x7e]{1,200}$/;

/** What people may say to a session; see wire/people.ts. */
export function messageRoutes(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.post("/:namespace/sessions/:name/events", async (context) => {
    const session = sessionOf(context);
    await requireAccess(ports, context, "create", session);
    return sendMessage(ports, context, session);
  });
  return app;
}

async function sendMessage(ports: ApiPorts, context: Context<ApiEnv>, session: SessionName): Promise<Response> {
  const { username } = context.get("identity");
  if (username.length > MAX_USERNAME_CHARS) throw new ProblemError("forbidden", `your user name has ${username.length} characters and at most ${MAX_USERNAME_CHARS} can be kept with what you send`);
  const id = parseKey(context.req.header("idempotency-key"));
  const said = await readBody(context, { schema: personAppendSchema, maxBytes: MAX_BODY_BYTES });
  const { uid } = await requireSession(ports, context, session);
  const appended = await ports.writer.appendByPerson(uid, username, buildEvent(said, id));
  if (appended?.kind === "refuse") throw new ProblemError(appended.problem, appended.detail, { refusal: appended.refusal });
  const event = appended?.events[0];
  if (event === undefined) throw new ProblemError("not-found", `the record of session ${uid} is gone`);
  const reply: PersonAppendReply = { uid, event };
  return context.json(reply);
}

/** What is appended for a person. A result is named by its call, so that the same one again is the same event: nothing in it may depend on when it came. Pure. */
function buildEvent(said: PersonAppend, id: string): NewEvent {
  switch (said.type) {
    case "input.received":
      return { type: said.type, data: { id, content: said.data.content } };
    case "turn.interrupted":
      return { type: said.type, data: { id } };
    case "tool.finished":
      return { type: said.type, data: { ...said.data, bytes: Buffer.byteLength(said.data.content), seconds: 0 } };
  }
}

function parseKey(header: string | undefined): string {
  if (header === undefined) return randomUUID();
  if (KEY.test(header)) return header;
  throw new ProblemError("malformed", "Idempotency-Key is 1 to 200 characters of visible ASCII, e.g. a UUID: the same key again is the same message");
}
