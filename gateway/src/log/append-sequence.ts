import type { Blob } from "@paddock/api/log/blobs";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventType, LogEvent, NewEvent } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { LOG_VERSION, ROOT_RUN } from "@paddock/api/log/limits";
import type { SessionState } from "@paddock/api/log/state";
import type { LedgerChange, SharedBudget, Write } from "../store/store.ts";
import type { Appender, Refusal } from "./admission.ts";
import { admit } from "./admit.ts";
import { dueAt } from "./due.ts";
import { chargedBudget, ledgerChangesOf } from "./ledger.ts";

/** Where one event of a request is: as it was just sealed, or by its number, or the newest of its type. */
export type Place = { readonly event: LogEvent } | { readonly seq: number } | { readonly newest: EventType };

/** What somebody asks to append, and what that is decided by. */
export interface Asked {
  readonly events: readonly NewEvent[];
  readonly bundle: Bundle;
  readonly who: Appender;
  readonly now: Date;
  readonly budget?: SharedBudget | undefined;
  readonly batch?: number;
}

/** All of a request's events, admitted. */
export interface Sequence {
  readonly kind: "admitted";
  /** What is to be written: the events that were not known, and what the gateway adds to them. */
  readonly write: Write;
  /** One for each event that was asked for, in its order; none for what the gateway added. */
  readonly places: readonly Place[];
}

/** What was admitted so far. */
interface Draft {
  state: SessionState;
  budget: SharedBudget | undefined;
  readonly events: LogEvent[];
  readonly blobs: Blob[];
  readonly ledger: LedgerChange[];
}

const GATEWAY: Appender = { role: "gateway" };

/** All or nothing: every event is admitted in the state that the ones before it leave. Pure. */
export function admitAll(first: SessionState, asked: Asked): Sequence | Refusal {
  const draft: Draft = { state: first, budget: asked.budget, events: [], blobs: [], ledger: [] };
  const places: Place[] = [];
  for (const [index, event] of asked.events.entries()) {
    const place = admitNext(draft, event, asked);
    if ("kind" in place) return { ...place, type: event.type, detail: `${event.type} (event ${index + 1} of ${asked.events.length}): ${place.detail}` };
    places.push(place);
  }
  const { state, budget: _, ...added } = draft;
  return { kind: "admitted", write: { ...added, state, dueAt: dueAt(state, asked.bundle) }, places };
}

/** What the gateway appends by itself; undefined when it is no longer to be appended. */
export function gatewaysOwn(first: SessionState, asked: Omit<Asked, "who" | "batch">): Write | undefined {
  const admitted = admitAll(first, { ...asked, who: GATEWAY });
  return admitted.kind === "refuse" || admitted.write.events.length === 0 ? undefined : admitted.write;
}

function admitNext(draft: Draft, event: NewEvent, asked: Asked): Place | Refusal {
  const { bundle, who, now } = asked;
  const admission = admit(draft.state, bundle, event, { who, now, budget: draft.budget });
  if (admission.kind === "refuse") return admission;
  if (admission.kind === "known") return "seq" in admission ? { seq: admission.seq } : { newest: admission.newest };
  const sealed = sealEvent(draft.state, admission.event, asked);
  extend(draft, sealed);
  if (admission.blob !== undefined) draft.blobs.push(admission.blob);
  if (admission.followed === undefined) return { event: sealed };
  const behind = admitNext(draft, admission.followed, { ...asked, who: GATEWAY });
  return "kind" in behind ? behind : { event: sealed };
}

function extend(draft: Draft, sealed: LogEvent): void {
  const before = draft.state;
  draft.state = foldEvent(before, sealed);
  draft.events.push(sealed);
  const changes = ledgerChangesOf(before, draft.state, sealed);
  draft.ledger.push(...changes);
  draft.budget = chargedBudget(draft.budget, changes);
}

function sealEvent(state: SessionState, event: NewEvent, { who, batch, now }: Asked): LogEvent {
  const envelope = {
    v: LOG_VERSION,
    seq: state.lastSeq + 1,
    at: now.toISOString(),
    role: who.role,
    run: ROOT_RUN,
    ...(who.role === "runner" ? { epoch: who.epoch } : {}),
    ...(who.role === "runner" && batch !== undefined ? { batch } : {}),
    ...(who.role === "person" ? { by: who.username } : {}),
  };
  // The union of events is closed over type and data together, which a spread cannot show.
  const unsealed = { ...envelope, ...event } as Omit<LogEvent, "hash">;
  return { ...unsealed, hash: hashOf(state.lastHash, unsealed) } as LogEvent;
}
