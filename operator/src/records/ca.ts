/** How long what was read is given to new pods without looking again: a successor is published weeks before it signs. */
const MAX_AGE_MS = 300_000;

/** The certificates that the gateway's own is checked by: published by the gateway, remembered until they prove wrong, and read again as they age. */
export interface CaSource {
  /** PEM, of one certificate or several. Throws a sentence while none is published. */
  pem(): Promise<string>;
  /** PEM as last read; "" before. */
  known(): string;
  /** Read again at the next use. */
  forget(): void;
}

/** `clock`: milliseconds of any steady clock. */
export function createCaSource(read: () => Promise<string | undefined>, where: string, clock: () => number = () => performance.now()): CaSource {
  let known = "";
  let isCurrent = false;
  let readAt = 0;
  const readAgain = async (): Promise<string> => {
    readAt = clock();
    const pem = await read();
    if (pem === undefined || pem === "") throw new Error(`${where} does not hold the gateway's CA yet: the gateway publishes it when it starts, see its log`);
    known = pem;
    isCurrent = true;
    return pem;
  };
  return {
    pem: async () => {
      if (!isCurrent) return readAgain();
      // Nobody waits for it: what is known was right so far, and when it cannot be read now it is tried as late again.
      if (clock() - readAt >= MAX_AGE_MS) readAgain().catch(() => undefined);
      return known;
    },
    known: () => known,
    forget: () => {
      isCurrent = false;
    },
  };
}
