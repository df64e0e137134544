import { X509Certificate } from "node:crypto";
import type { Store } from "../store/store.ts";
import { makeAuthority, parseAuthority } from "./authority.ts";
import type { Authority } from "./authority.ts";
import { decideBundle, decideSigner, isSuccessorDue } from "./rotation.ts";
import type { Generation } from "./rotation.ts";

/** Successors end after at most this many: a clock that is far ahead must not make them for ever. */
const MOST_GENERATIONS = 32;

interface Known extends Generation {
  readonly key: string;
  readonly authority: Authority;
}

/** The authorities as they stand at one moment. */
export interface Standing {
  /** Signs serving certificates. */
  readonly signer: Authority;
  /** PEM of every certificate that clients are to trust, the newest last. */
  readonly bundle: string;
}

/** The row of authorities that succeed each other, in the store: all gateways with one store have the same. */
export interface Authorities {
  /** Reads the row, and adds a successor when one is due. Rejects when the store cannot serve. */
  stand(now: Date): Promise<Standing>;
  /** Notes that the bundle was published: the time of the first time stays. */
  notePublished(bundle: string, now: Date): Promise<void>;
}

export function createAuthorities(store: Pick<Store, "secret">): Authorities {
  const publishedAt = new Map<string, number>();
  let known: readonly Known[] = [];

  const read = async (key: string, now: Date): Promise<Known> => {
    const authority = parseAuthority(await store.secret(key, () => makeAuthority(now)));
    return { key, authority, expiresAt: new X509Certificate(authority.certificate).validToDate.getTime(), publishedAt: publishedAt.get(key) };
  };
  return {
    stand: async (now) => {
      const row = [await read("ca", now)];
      for (let newest = row[0]; newest !== undefined && isSuccessorDue(newest, now) && row.length < MOST_GENERATIONS; newest = row.at(-1)) {
        row.push(await read(`ca.${row.length + 1}`, now));
      }
      known = row;
      const signer = row[decideSigner(row, now)];
      if (signer === undefined) throw new Error(`each of the ${row.length} authorities in the store has expired: set the clock of this machine, it is ${now.toISOString()}`);
      return { signer: signer.authority, bundle: decideBundle(row, now).map(({ authority }) => authority.certificate).map(ended).join("") };
    },
    notePublished: async (bundle, now) => {
      for (const { key, authority } of known.slice(1)) {
        if (publishedAt.has(key) || !bundle.includes(authority.certificate.trim())) continue;
        publishedAt.set(key, Date.parse(await store.secret(`${key}.published`, () => Promise.resolve(now.toISOString()))));
      }
    },
  };
}

function ended(pem: string): string {
  return pem.endsWith("\n") ? pem : `${pem}\n`;
}
