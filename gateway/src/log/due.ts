import { DEFAULT_CUSTOM_TOOL_SECONDS } from "@paddock/api/agent";
import type { Bundle } from "@paddock/api/log/bundle";
import type { NewEvent } from "@paddock/api/log/events";
import { pendingApprovals } from "@paddock/api/log/state";
import type { CallState, SessionState } from "@paddock/api/log/state";
import { customToolOf } from "@paddock/api/policy/rules";
import type { CustomTool } from "@paddock/api/policy/rules";

/** Something that happens at a time by itself. `at` is RFC 3339. */
interface Due {
  readonly at: string;
  readonly event: NewEvent;
}

/** When the gateway has to append something by itself, RFC 3339; undefined when nothing is left to. Pure. */
export function dueAt(state: SessionState, bundle: Bundle): string | undefined {
  const times = allDue(state, bundle).map(({ at }) => Date.parse(at));
  return times.length === 0 ? undefined : new Date(Math.min(...times)).toISOString();
}

/** What the gateway has to append by now: approvals that expired, and calls of custom tools whose time is over. Pure. */
export function dueEvents(state: SessionState, bundle: Bundle, now: Date): NewEvent[] {
  return allDue(state, bundle)
    .filter(({ at }) => Date.parse(at) <= now.getTime())
    .map(({ event }) => event);
}

/** How long a call of this tool waits for its result. */
export function customSeconds({ timeoutSeconds = DEFAULT_CUSTOM_TOOL_SECONDS }: CustomTool): number {
  return timeoutSeconds;
}

function allDue(state: SessionState, bundle: Bundle): Due[] {
  if (state.finished !== undefined) return [];
  return [...pendingApprovals(state).map(({ call, fingerprint, expiresAt }) => ({ at: expiresAt, event: expired(call, fingerprint) })), ...state.calls.flatMap((call) => lateResult(call, bundle))];
}

function expired(call: string, fingerprint: string): NewEvent {
  return { type: "approval.resolved", data: { call, fingerprint, decision: "Expired", scope: "Once" } };
}

function lateResult({ call, name, deadline, finished }: CallState, bundle: Bundle): Due[] {
  const tool = customToolOf(bundle, name);
  if (tool === undefined || deadline === undefined || finished !== undefined) return [];
  const seconds = customSeconds(tool);
  const content = `No result came within ${seconds} seconds.`;
  return [{ at: deadline, event: { type: "tool.finished", data: { call, status: "timeout", content, bytes: content.length, seconds } } }];
}
