import type { AssistantMessage } from "@paddock/api/log/events";

// Every sentence that the model is told by us and not by a tool or a person, in one place.

/** A result that was not made by running the call. */
export interface Verdict {
  readonly status: "error" | "cancelled" | "denied" | "indeterminate";
  readonly content: string;
}

export const CUT_CALL: Verdict = {
  status: "error",
  content: "Not run: your answer reached its output limit before it was complete, so this call may be cut. Make it again, with shorter arguments or one call at a time.",
};

export const FILTERED_CALL: Verdict = { status: "cancelled", content: "Not run: the endpoint's content filter ended the answer that made this call." };

export function deniedCall(rule: string): Verdict {
  return { status: "denied", content: `Denied by policy: ${rule}. The same call will be denied again; go on without it, or say what you need and why.` };
}

/** A person's no; the model is told why and not who. */
export function refusedCall(reason: string | undefined): Verdict {
  const why = reason === undefined || reason.trim() === "" ? "Denied by a person, who gave no reason" : `Denied by a person: ${reason.trim().replace(/\.$/, "")}`;
  return { status: "denied", content: `${why}. The call was not run. Do not make the same call again; go on without it, or say what you need and why.` };
}

export const EXPIRED_CALL: Verdict = {
  status: "denied",
  content: "Denied: nobody decided in time whether this call may run, so it was not run. Go on without it if you can, or say in your answer what you need and why.",
};

export function cancelledCall(why: string): Verdict {
  return { status: "cancelled", content: `Cancelled: ${why}` };
}

/** Of a call that may have done something before it was stopped. */
export function interruptedCall(wasStarted: boolean): Verdict {
  const what = wasStarted ? "It was stopped while it ran and may have done part of its work: check before you repeat it." : "It was not run.";
  return { status: "cancelled", content: `Cancelled: a person interrupted the turn. ${what}` };
}

export function unknownOutcome(tool: string, why: string): Verdict {
  const content = `The outcome of this call is not known: ${tool} was started, and then ${why} before a result was recorded. It may have run wholly, partly or not at all, and it was not run again. Check the state of the workspace first, then decide whether to repeat it.`;
  return { status: "indeterminate", content };
}

export function triedTooOften(attempts: number): Verdict {
  return { status: "error", content: `Given up: the call was started ${attempts} times and each time the sandbox or the runner was lost before a result was recorded. Try another way.` };
}

export function noSandbox(reason: string): Verdict {
  return { status: "error", content: `The call could not be run: there is no sandbox to run it in (${reason}). Repeating it at once will not help.` };
}

/** Said with the first result from a sandbox that is not the one of the results before. */
export function freshSandbox(isWorkspaceKept: boolean): string {
  const gone = isWorkspaceKept
    ? "The files in the workspace are as they were left; running processes, files in /tmp and programs installed outside the workspace are gone."
    : "What was made in the earlier one, files, installed programs and processes, is gone.";
  return `The earlier sandbox was lost; this result comes from a new one. ${gone}`;
}

const EMPTY_ANSWER = "Your last answer was empty. Answer in words, or call a tool.";
const CUT_ANSWER = "Your last answer reached its output limit and was cut, so it cannot be used. Give the whole answer again, shorter.";

/** What to tell the model about an answer that can neither be used nor acted on; undefined when it is a usable one. */
export function nudgeFor(message: AssistantMessage, finishReason: string): string | undefined {
  if (message.toolCalls.length > 0) return undefined;
  if (finishReason === "length") return CUT_ANSWER;
  return message.text.trim() === "" ? EMPTY_ANSWER : undefined;
}
