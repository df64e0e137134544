/** A session that wants one of its Environment's slots. */
export interface Contender {
  readonly uid: string;
  /** Who created it; "" when nobody knows. */
  readonly creator: string;
  /** RFC 3339. */
  readonly createdAt: string;
  /** It was let in before and something that it names was missing: all others go first. */
  readonly isHindered: boolean;
}

/** An Environment's slots and who wants one. */
export interface Line<C extends Contender = Contender> {
  readonly limit: number;
  /** The creator of each session that holds a slot. */
  readonly holders: readonly string[];
  readonly contenders: readonly C[];
}

/**
 * Contenders in the order in which they are let in: the one whose creator has the fewest sessions running or ahead of it goes first (max-min
 * fair), of these the older one, then by UID; within a creator first come, first served. Pure.
 */
export function orderFairly<C extends Contender>({ holders, contenders }: Pick<Line<C>, "holders" | "contenders">): readonly C[] {
  const ahead = new Map<string, number>();
  for (const creator of holders) ahead.set(creator, (ahead.get(creator) ?? 0) + 1);
  // Letting in whose creator has the fewest, again and again, comes to the same as sorting by how many each has ahead of it.
  const ranked = contenders.toSorted(byArrival).map((contender) => {
    const level = ahead.get(contender.creator) ?? 0;
    ahead.set(contender.creator, level + 1);
    return { contender, level };
  });
  const byRank = (a: (typeof ranked)[number], b: (typeof ranked)[number]): number =>
    Number(a.contender.isHindered) - Number(b.contender.isHindered) || a.level - b.level || byArrival(a.contender, b.contender);
  return ranked.toSorted(byRank).map(({ contender }) => contender);
}

/** The contenders that find a free slot, best first. Pure. */
export function admitted<C extends Contender>(line: Line<C>): readonly C[] {
  const free = line.limit - line.holders.length;
  if (free <= 0) return [];
  return line.contenders.length <= free ? line.contenders : orderFairly(line).slice(0, free);
}

function byArrival(a: Contender, b: Contender): number {
  return Number(a.isHindered) - Number(b.isHindered) || compare(a.createdAt, b.createdAt) || compare(a.uid, b.uid);
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
