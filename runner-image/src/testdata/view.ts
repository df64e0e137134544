import type { Bundle } from "@paddock/api/log/bundle";
import { LOG_VERSION, ROOT_RUN } from "@paddock/api/log/limits";
import type { LogEvent, NewEvent, Role } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle } from "../../../test/fakes/session.ts";
import type { View } from "../transcript.ts";

const GIVEN = buildTestBundle("u1", { startTime: "2026-01-01T00:00:00.000Z" });
/** Its sandboxes have to be proven, as they have to where the Environment says nothing. */
export const BUNDLE: Bundle = { ...GIVEN, environment: { ...GIVEN.environment, spec: { ...GIVEN.environment.spec, network: {} } } };

/** The event as one that somebody else than a runner appended. */
export function by(role: Role, event: NewEvent): NewEvent {
  return Object.assign({ ...event }, { role });
}

/** Events as the gateway would store them, in order and chained. */
export function stored(events: readonly NewEvent[]): readonly LogEvent[] {
  let hash = "";
  return events.map((event, index) => {
    const unsealed = { v: LOG_VERSION, seq: index + 1, at: "2026-01-01T00:00:01.000Z", role: "runner", run: ROOT_RUN, ...event } as Omit<LogEvent, "hash">;
    hash = hashOf(hash, unsealed);
    return { ...unsealed, hash } as LogEvent;
  });
}

/** The view of a session that was bound, and had these events since. */
export function viewOf(events: readonly NewEvent[], bundle = BUNDLE): View {
  const log = stored([...boundEvents(bundle), ...events]);
  return { bundle, events: log, state: log.reduce(foldEvent, EMPTY_STATE) };
}
