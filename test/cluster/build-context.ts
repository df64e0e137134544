import { createHash } from "node:crypto";
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, readdirSync, statSync, utimesSync } from "node:fs";
import { dirname, join, matchesGlob } from "node:path";

/**
 * The files that decide what a Dockerfile builds: itself and what it copies, without what .dockerignore excludes.
 * Paths are relative to the context, sorted. Throws when the Dockerfile or something that it copies is missing.
 */
export function contextFiles(context: string, dockerfile: string): readonly string[] {
  const path = join(context, dockerfile);
  if (!existsSync(path)) throw new Error(`${path} does not exist, so its image cannot be built`);
  const ignored = ignorePatterns(context);
  const copied = copySources(readFileSync(path, "utf8")).flatMap((source) => {
    const matches = globSync(source.replace(/\/$/, "") || ".", { cwd: context });
    if (matches.length === 0) throw new Error(`${path} copies ${source}, which does not exist in ${context}`);
    return matches.flatMap((match) => filesUnder(context, match, ignored));
  });
  return [...new Set([dockerfile, ...copied])].sort();
}

/** Pure: what the COPY and ADD instructions of a Dockerfile take from the build context. */
export function copySources(dockerfile: string): readonly string[] {
  const lines = dockerfile.replace(/\\\r?\n/g, " ").split("\n").map((line) => line.trim());
  return lines.filter((line) => /^(COPY|ADD)\s/i.test(line) && !/\s--from=/.test(line)).flatMap((line) => {
    const operands = line.replace(/^\w+\s+/, "").replace(/^(--\S+\s+)+/, "");
    const words = operands.startsWith("[") ? (JSON.parse(operands) as string[]) : operands.split(/\s+/);
    return words.slice(0, -1).map((word) => word.replace(/^\.?\//, "") || ".").map((word) => (word === "./" ? "." : word));
  });
}

/** Pure: whether a path, or a folder above it, matches one of the patterns. */
export function isIgnored(path: string, patterns: readonly string[]): boolean {
  const parts = path.split("/");
  return parts.some((_, index) => {
    const folder = parts.slice(0, index + 1).join("/");
    return patterns.some((pattern) => matchesGlob(folder, pattern));
  });
}

/** Twelve hex digits over names, executable bits and contents of the files and over the base image. */
export function contentKey(context: string, files: readonly string[], base: string): string {
  const hash = createHash("sha256").update(`${base}\0`);
  for (const file of files) {
    const path = join(context, file);
    hash.update(`${file}\0${isExecutable(path) ? "x" : "-"}\0${statSync(path).size}\0`).update(readFileSync(path));
  }
  return hash.digest("hex").slice(0, 12);
}

/** Copies the files, all with the same time, so that a layer's content depends on nothing else. */
export function stageContext(context: string, files: readonly string[], target: string): void {
  for (const file of files) {
    const path = join(target, file);
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(join(context, file), path);
    utimesSync(path, 1_000_000_000, 1_000_000_000);
  }
}

function filesUnder(context: string, path: string, ignored: readonly string[]): readonly string[] {
  if (path !== "." && isIgnored(path, ignored)) return [];
  if (!statSync(join(context, path)).isDirectory()) return [path];
  return readdirSync(join(context, path)).flatMap((name) => filesUnder(context, path === "." ? name : `${path}/${name}`, ignored));
}

function ignorePatterns(context: string): readonly string[] {
  const file = join(context, ".dockerignore");
  if (!existsSync(file)) return [];
  const patterns = readFileSync(file, "utf8").split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
  const exception = patterns.find((pattern) => pattern.startsWith("!"));
  if (exception !== undefined) throw new Error(`${file}: the exception ${exception} is not understood here; name what is to be ignored instead`);
  return patterns;
}

function isExecutable(path: string): boolean {
  return (statSync(path).mode & 0o111) !== 0;
}
