import { randomBytes, X509Certificate } from "node:crypto";
import { readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { codeOf, failureOf } from "./failure.ts";
import type { Log } from "./log.ts";
import { RequestRefused } from "./problem.ts";

const MOST_BYTES = 1024 * 1024;
/** Where Debian's programs look when no variable tells them better. In our image it is a link to BUNDLE. */
const SYSTEM_STORE = "/etc/ssl/certs/ca-certificates.crt";
/** The image's own, when the system's store is the link to what is written here. */
const IMAGE_COPY = "/usr/share/paddock/ca-certificates.crt";
const BUNDLE = "ca-certificates.crt";
const EXTRA = "extra.crt";

/** The files that programs are told of. Pure. */
export function trustFiles(folder: string): { readonly bundle: string; readonly extra: string } {
  return { bundle: join(folder, BUNDLE), extra: join(folder, EXTRA) };
}

/**
 * Whom programs trust: the image's authorities and those of the runner, in one file, and the latter alone in another for programs that have
 * their own list. Commands may write to the folder, and so deceive themselves and nobody else.
 */
export interface TrustStore {
  /**
   * Each file appears whole or stays as it was. One at a time. Throws RequestRefused `unavailable` when the folder does not take them;
   * without any to add the image's own store serves as well, e.g. in a pod that has no volume for them.
   */
  renew(trust: string): Promise<void>;
}

/** `sources`: where the image's authorities may be, the best first. */
export function createTrustStore(folder: string, log: Log, sources: readonly string[] = [SYSTEM_STORE, IMAGE_COPY]): TrustStore {
  const { bundle, extra } = trustFiles(folder);
  let last: Promise<unknown> = Promise.resolve();

  async function write(trust: string): Promise<void> {
    try {
      const image = await readImage(folder, sources);
      await replace(folder, bundle, `${image}${image === "" || image.endsWith("\n") ? "" : "\n"}${trust}`);
      await replace(folder, extra, trust);
    } catch (error) {
      const failure = failureOf(error, folder);
      const why = failure instanceof Error ? failure.message : String(failure);
      if (trust !== "") throw new RequestRefused("unavailable", `the certificates that programs trust cannot be written: ${why}`);
      log("warn", "the store of trusted certificates is left as it is", { error: why });
    }
  }

  return {
    renew(trust) {
      const mine = last.then(() => write(trust));
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}

async function readImage(folder: string, sources: readonly string[]): Promise<string> {
  const own = `${await realpath(folder)}${sep}`;
  for (const source of sources) {
    try {
      const real = await realpath(source);
      if (!real.startsWith(own)) return await readFile(real, "utf8");
    } catch (error) {
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") throw error;
    }
  }
  return "";
}

async function replace(folder: string, target: string, content: string): Promise<void> {
  const draft = join(folder, `.${randomBytes(8).toString("hex")}`);
  try {
    await writeFile(draft, content, { mode: 0o644, flag: "wx" });
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/**
 * The certificates of a bind as PEM, what stands between them left out; empty from a runner of before there were any. Pure.
 * Throws RequestRefused for anything but certificates: a key, or a block that no program could read and that would spoil the whole file.
 */
export function parseTrust(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value !== "string") throw new RequestRefused("malformed", "trust must be a text");
  if (Buffer.byteLength(value) > MOST_BYTES) throw new RequestRefused("too-large", `trust has more than ${MOST_BYTES} bytes`);
  const pieces = value.split(/-----BEGIN ([^\n-]*)-----/);
  let certificates = "";
  for (let index = 1; index < pieces.length; index += 2) certificates += parseBlock(pieces[index] ?? "", pieces[index + 1] ?? "", (index + 1) / 2);
  return certificates;
}

function parseBlock(label: string, rest: string, number: number): string {
  if (label !== "CERTIFICATE") throw new RequestRefused("malformed", `block ${number} of trust is a ${JSON.stringify(label.slice(0, 40))}; only CERTIFICATE may be there`);
  const body = /^([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(rest)?.[1];
  try {
    if (body !== undefined) return new X509Certificate(Buffer.from(body, "base64")).toString();
  } catch {
    // The sentence below says it.
  }
  throw new RequestRefused("malformed", `block ${number} of trust is not a certificate`);
}
