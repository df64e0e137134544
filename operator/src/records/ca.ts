/** The certificate that the gateway's own is checked by: published by the gateway, remembered until it proves wrong. */
export interface CaSource {
  /** PEM. Throws a sentence while it is not published. */
  pem(): Promise<string>;
  /** PEM as last read; "" before. */
  known(): string;
  /** Read again at the next use. */
  forget(): void;
}

export function createCaSource(read: () => Promise<string | undefined>, where: string): CaSource {
  let known = "";
  let isCurrent = false;
  return {
    pem: async () => {
      if (isCurrent) return known;
      const pem = await read();
      if (pem === undefined || pem === "") throw new Error(`${where} does not hold the gateway's CA yet: the gateway publishes it when it starts, see its log`);
      known = pem;
      isCurrent = true;
      return pem;
    },
    known: () => known,
    forget: () => {
      isCurrent = false;
    },
  };
}
