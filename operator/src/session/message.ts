/** API server's limit for a condition's message is 32768 characters; nobody reads more than this in a table. */
export const MAX_MESSAGE = 1024;

/** A text of at most `max` UTF-16 units: whole when it fits, else its start and an ellipsis, never half of a character. Pure. */
export function cutText(text: string, max: number): string {
  if (text.length <= max) return text;
  const end = isHighSurrogate(text.charCodeAt(max - 2)) ? max - 2 : max - 1;
  return `${text.slice(0, end)}…`;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
