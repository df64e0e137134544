// Ten thousand objects name a handful of namespaces, agents and environments: one copy of each text is enough.

const MAX_KEPT = 4096;
const kept = new Map<string, string>();

/** The same text, as the same string in memory where it was seen not long ago. */
export function intern(text: string): string {
  const found = kept.get(text);
  if (found !== undefined) return found;
  // Names come and go: starting over costs a few copies, never growth.
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(text, text);
  return text;
}
