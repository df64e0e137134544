// When the gateway's authorities take turns. Everybody who dials the gateway trusts every certificate of the bundle that it publishes, so an authority
// may sign once all who trust only its predecessor are gone. The operator reads the bundle again and again; a pod has it from its start
// to its end.

const DAY_MS = 86_400_000;

/** A successor is made so long before an authority ends: time to publish it, to wait out OVERLAP_MS, and for the last certificates it signed to be renewed. */
export const RENEWED_BEFORE_MS = 180 * DAY_MS;

/**
 * A successor signs so long after it was first published. No pod lives longer than a week and a minute (activeDeadlineSeconds of operator/src/pods):
 * those that were made before have ended by then, and as much time again is left for an operator that could not read it at once.
 */
export const OVERLAP_MS = 14 * DAY_MS;

/** One authority of the row that succeed each other; times are epoch milliseconds. */
export interface Generation {
  readonly expiresAt: number;
  /** When its certificate was first published beside its predecessor's; undefined before. The first authority of all needs none. */
  readonly publishedAt: number | undefined;
}

/** Whether the newest authority needs a successor by now. Pure. */
export function isSuccessorDue({ expiresAt }: Pick<Generation, "expiresAt">, now: Date): boolean {
  return now.getTime() >= expiresAt - RENEWED_BEFORE_MS;
}

/**
 * Which of the authorities, oldest first, signs now: the newest that everybody trusts; the newest valid one when there is none such, because
 * a certificate that some must read anew is better than one that nobody takes. Pure; -1 when none is valid.
 */
export function decideSigner(generations: readonly Generation[], now: Date): number {
  const isValid = ({ expiresAt }: Generation): boolean => expiresAt > now.getTime();
  const isTrusted = ({ publishedAt }: Generation, index: number): boolean => index === 0 || (publishedAt !== undefined && publishedAt + OVERLAP_MS <= now.getTime());
  const trusted = generations.findLastIndex((generation, index) => isValid(generation) && isTrusted(generation, index));
  return trusted === -1 ? generations.findLastIndex(isValid) : trusted;
}

/** Which of the authorities are published: all that have not expired. Pure. */
export function decideBundle<T extends Generation>(generations: readonly T[], now: Date): readonly T[] {
  return generations.filter(({ expiresAt }) => expiresAt > now.getTime());
}
