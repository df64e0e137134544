/** Whether a request's path, without its query, is `above` or below it. Segments are compared as they are written. Pure. */
export function isBelow(above: string, path: string): boolean {
  const [plain = ""] = path.split("?", 1);
  const stem = above.endsWith("/") ? above : `${above}/`;
  return plain === above || plain.startsWith(stem);
}

const AMBIGUITIES: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^(?!\/)/, "does not start with /"],
  [/[^!-~]/, "has characters that must be written as %xx"],
  [/[\\#]/, "has a backslash or #"],
  [/\/\//, "has an empty segment"],
  // An encoded percent sign becomes any of these where somebody decodes twice.
  [/%(2f|5c|2e|00|25)/i, "has an encoded slash, backslash, dot, percent sign or zero"],
  [/%(?![0-9a-f]{2})/i, "has a percent sign that encodes nothing"],
  // Some servers cut a segment at its first semicolon before they look at it.
  [/\/\.{1,2}(;|\/|$)/, "has a segment . or .."],
];

/** What makes a path mean different things to different servers, for a sentence that starts "the path"; undefined when nothing does. Pure. */
export function findAmbiguity(path: string): string | undefined {
  const [plain = ""] = path.split("?", 1);
  return AMBIGUITIES.find(([pattern]) => pattern.test(plain))?.[1];
}
