import { z } from "zod";

/**
 * Member of a schema's meta that says what to write when the pattern does not match. The CRD then checks the pattern by a CEL rule with
 * this message: the API server's own answer to a bare pattern prints the regular expression, which helps nobody.
 */
export const HINT = "x-paddock-hint";

/** A string that must match a pattern; `hint` tells people what to write. The pattern is RE2 without look-around. */
export const matching = (pattern: string, max: number, { description, hint }: { readonly description: string; readonly hint: string }) =>
  z.string().min(1).max(max).regex(new RegExp(pattern)).meta({ description, [HINT]: hint });

/**
 * Free text. NUL is refused, because neither SQLite text nor a model's API carries it faithfully; so is U+FFFD, which is what the API
 * server makes of bytes that are not UTF-8.
 */
export const freeText = (description: string, max: number, min: 0 | 1 = 0) =>
  z.string().min(min).max(max).regex(new RegExp("^[^\\x00\uFFFD]*$")).meta({ description, [HINT]: "text may not hold a NUL character or U+FFFD, which bytes that are not UTF-8 become: write UTF-8 without them" });

/**
 * Member of a schema's meta that says what to do with a longer text. The API server's own answer to one that is too long says how long it may
 * be and nothing else; so the CRD's bound lies further out, and a CEL rule with this message is the one that people meet.
 */
export const TOO_LONG = "x-paddock-too-long";

/** Free text for which a longer one has another place; `instead` tells people which. */
export const boundedText = (description: string, max: number, instead: string) => freeText(description, max, 1).meta({ [TOO_LONG]: instead });

/** A JSON object of any members, kept as it is: for what another standard defines, such as a JSON Schema. */
export const preserved = (description: string) => z.record(z.string(), z.unknown()).meta({ description, "x-kubernetes-preserve-unknown-fields": true });

/** Text as a CEL string literal. */
export function celString(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
