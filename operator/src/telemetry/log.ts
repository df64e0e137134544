import { type Logger, pino } from "pino";
import { keyText, type PassReport } from "../kernel/controller.ts";

export type { Logger } from "pino";

/** The operator's log: JSON lines on stdout. */
export function createLogger(level: string): Logger {
  return pino({ level, base: { process: "operator" }, timestamp: pino.stdTimeFunctions.isoTime });
}

/** One line per pass that did something or went wrong; silent passes and lost races only at debug. */
export function logPass(log: Logger, { kind, key, writes, fault, durationMs, requeueAfterMs }: PassReport): void {
  const line = { kind, key: keyText(key), writes, durationMs: Math.round(durationMs), ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }) };
  if (fault === undefined) return log[writes > 0 ? "info" : "debug"](line, "pass");
  if (fault.kind === "programming") return log.error({ ...line, err: fault.cause }, "pass failed by an error of our own");
  const isRace = fault.kind === "conflict" || fault.kind === "log-conflict";
  log[isRace ? "debug" : "warn"]({ ...line, fault: fault.kind, reason: fault.message }, "pass failed");
}
