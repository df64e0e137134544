import { pino } from "pino";
import type { DestinationStream, Logger, LoggerOptions } from "pino";
import { mapTexts, redactShapes } from "./redaction.ts";
import type { Redactor } from "./redaction.ts";

/** Of one text in a line: a peer may have written it, and a line is for people. */
const MOST_CHARS = 4096;

/** What JSON leaves as it is: it moves a terminal's cursor, turns its text round, or hides in it. */
const UNREADABLE = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

export interface LoggerSettings {
  readonly level: string;
  readonly podName: string;
  /** Knows the secrets that this process has read so far. */
  readonly redactor: Pick<Redactor, "text">;
}

/**
 * The log of this process, a JSON object a line. Whatever part of the runner says something, in whichever member, those of children among them: here
 * the secrets that this process knows are replaced in it, and what looks like one; texts are cut; and no character is written that a terminal
 * would act on. Of an error only type, message, code and stack are written: some have the bytes with them that could not be read. `destination` is for
 * tests; absent means standard output.
 */
export function createLogger({ level, podName, redactor }: LoggerSettings, destination?: DestinationStream): Logger {
  const text = (plain: string): string => cut(redactShapes(redactor.text(plain)));
  const options: LoggerOptions = {
    level,
    base: { pod: podName },
    serializers: { err: describeError },
    // Last, so that nothing comes after it.
    hooks: { streamWrite: (line) => `${JSON.stringify(mapTexts(JSON.parse(line), text)).replace(UNREADABLE, escape)}\n` },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function cut(text: string): string {
  return text.length <= MOST_CHARS ? text : `${text.slice(0, MOST_CHARS)}… (${text.length - MOST_CHARS} more)`;
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  return { type: error.name, message: error.message, code: (error as NodeJS.ErrnoException).code, stack: error.stack };
}

/** As JSON escapes it, each of its units. */
function escape(character: string): string {
  return character.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
}
