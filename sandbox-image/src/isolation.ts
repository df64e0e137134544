import type { IsolationReport, ProbeTarget } from "@paddock/api/wire/sandbox";

/**
 * What the pod could reach before anything of its session ran in it. Once in its life: afterwards commands could have made it look as they like.
 *
 *   unknown → (prove) → probing → known for ever
 *                               → unknown, when this machine could not ask
 */
export interface Isolation {
  /** Probes, waits for a probe that is under way, or gives back what was found: later targets are not tried. Rejects when nothing was proven. */
  prove(given: readonly ProbeTarget[]): Promise<IsolationReport>;
  isKnown(): boolean;
}

/** `run` tries the targets given with those of the tool server. */
export function createIsolation(run: (given: readonly ProbeTarget[]) => Promise<IsolationReport>): Isolation {
  let probing: Promise<IsolationReport> | undefined;
  let known = false;

  async function runOnce(given: readonly ProbeTarget[]): Promise<IsolationReport> {
    try {
      const report = await run(given);
      known = true;
      return report;
    } catch (error) {
      probing = undefined;
      throw error;
    }
  }

  return {
    prove: (given) => (probing ??= runOnce(given)),
    isKnown: () => known,
  };
}
