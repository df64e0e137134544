/** Names of time zones that are close to one that does not exist, the closest first, at most `max`. Pure. */
export function nearestZones(wrong: string, max = 3): readonly string[] {
  const wanted = wrong.toLowerCase();
  return ["UTC", ...Intl.supportedValuesOf("timeZone")]
    .map((name) => ({ name, distance: distanceTo(name.toLowerCase(), wanted) }))
    .filter(({ name, distance }) => distance <= Math.max(2, Math.ceil(name.length / 3)))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, max)
    .map(({ name }) => name);
}

// A city alone is what people write most, so it counts as if its area stood before it.
function distanceTo(name: string, wanted: string): number {
  const city = name.slice(name.lastIndexOf("/") + 1);
  return wanted.includes("/") ? editDistance(name, wanted) : Math.min(editDistance(name, wanted), editDistance(city, wanted.replaceAll(" ", "_")));
}

/** Insertions, deletions and replacements of single characters that make one text of the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
