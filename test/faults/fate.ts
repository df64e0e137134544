/** When and how an operator is struck: at its n-th write to API server or gateway, counted from 1. */
export interface Blow {
  readonly at: number;
  /** It dies before the write is carried out, or after it; or it lives on and only the answer is lost. */
  readonly how: "dies before" | "dies after" | "loses the answer of";
}

/** What becomes of one operator. Counts its writes. */
export interface Fate {
  /** Its writes so far, `<METHOD> <path>`. */
  readonly writes: readonly string[];
  isDead(): boolean;
  /** Told of each request before it is passed on. */
  before(line: string): "alive" | "dead";
  /** Told of each write once it was carried out. */
  after(line: string): "answered" | "lost" | "dead";
  /** Its writes are counted from here on, and the blow can come. */
  arm(): void;
  /** What it asks from now on, and what others answer, arrives after `thaw`: nothing is closed. */
  freeze(): void;
  thaw(): void;
  /** Resolves when it is not frozen. */
  thawed(): Promise<void>;
  /** It dies now. */
  kill(): void;
  onDeath(listener: () => void): void;
}

export function createFate(blow?: Blow): Fate {
  const writes: string[] = [];
  const listeners: (() => void)[] = [];
  const numbers = new Map<string, number[]>();
  let isDead = false;
  let isArmed = false;
  let ice: PromiseWithResolvers<void> | undefined;
  const thaw = (): void => {
    ice?.resolve();
    ice = undefined;
  };
  const kill = (): void => {
    if (isDead) return;
    isDead = true;
    thaw();
    for (const listener of listeners) listener();
  };
  return {
    writes,
    isDead: () => isDead,
    before: (line) => {
      if (isDead) return "dead";
      if (!isArmed || !isWrite(line)) return "alive";
      writes.push(line);
      numbers.set(line, [...(numbers.get(line) ?? []), writes.length]);
      if (blow?.how === "dies before" && writes.length === blow.at) kill();
      return isDead ? "dead" : "alive";
    },
    after: (line) => {
      // Two equal writes under way at once are answered in the order in which they came.
      const how = numbers.get(line)?.shift() === (blow?.at ?? 0) ? blow?.how : undefined;
      if (how === "dies after") kill();
      if (isDead) return "dead";
      return how === "loses the answer of" ? "lost" : "answered";
    },
    arm: () => {
      isArmed = true;
    },
    freeze: () => {
      ice ??= Promise.withResolvers();
    },
    thaw,
    thawed: () => ice?.promise ?? Promise.resolve(),
    kill,
    onDeath: (listener) => void listeners.push(listener),
  };
}

/** Dry runs and access reviews write nothing, and the lease is no fact of the world. */
export function isWrite(line: string): boolean {
  return !/^(GET|DRY) /.test(line) && !line.includes("/subjectaccessreviews") && !line.includes("/leases");
}
