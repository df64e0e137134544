// Texts that must fit: never half of a character, because whoever stores half of one stores another text, and what was said and what is held would
// differ for ever.

/** At most `max` UTF-16 units of a text's start. Pure. */
export function startOf(text: string, max: number): string {
  return text.slice(0, max).replace(/[\uD800-\uDBFF]$/, "");
}

/** The longest start of a text that has at most `bytes` bytes of UTF-8. Pure. */
export function startOfBytes(text: string, bytes: number): string {
  const encoded = new TextEncoder().encodeInto(text, new Uint8Array(bytes));
  return text.slice(0, encoded.read);
}

/** A text of at most `max` UTF-16 units: whole when it fits, else its start and an ellipsis. Pure. */
export function cutText(text: string, max: number): string {
  return text.length <= max ? text : `${startOf(text, max - 1)}…`;
}
