import { pino } from "pino";
import type { Logger } from "pino";

export type { Logger };

/** The process' log: JSON lines on standard output, never with a token in them. */
export function createLogger(level: string): Logger {
  return pino({
    name: "paddock-gateway",
    level,
    redact: { paths: ["authorization", "*.authorization", "headers.authorization", "*.headers.authorization", "token", "*.token"], censor: "[redacted]" },
  });
}
