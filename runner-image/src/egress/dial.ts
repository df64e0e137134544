import type { Socket } from "node:net";
import type { EgressDenial, EgressTarget } from "./policy.ts";
import type { decideAddress } from "./decision.ts";
import type { EgressPolicy } from "./rules.ts";

/** Every address of a name, in the order in which they are tried. Rejects when there is none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export interface DialPorts {
  readonly policy: EgressPolicy;
  /** Absent: the system's resolver. */
  readonly resolve?: Resolve;
  /** For each address, and for the name; 10 s. */
  readonly connectMs?: number;
  /** Absent: decideAddress. Tests pass their own, because loopback is never dialled. */
  readonly isAddressAllowed?: typeof decideAddress;
}

/** policy.ts has the contract. */
export function createDial(ports: DialPorts): (target: EgressTarget, entries: readonly number[], signal: AbortSignal) => Promise<Socket | EgressDenial> {
  throw new Error(`not yet: ${ports.policy.environment}`);
}
