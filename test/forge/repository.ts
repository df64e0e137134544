import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createMeter, noteReceived, noteSent } from "./seen.ts";
import type { Exchange } from "./exchange.ts";

// A private repository over git's own smart HTTP server, run as a CGI program as web servers do.

const PATH = "/usr/local/bin:/usr/bin:/bin";
export const REPOSITORY = "/git/project.git";

/** Makes `<folder>/git/project.git` with one commit, and a file large enough that its pack comes in many pieces. */
export function makeRepository(folder: string): void {
  const bare = join(folder, REPOSITORY);
  const work = join(folder, "work");
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, "README.md"), "# A private project\n");
  writeFileSync(join(work, "noise.bin"), randomBytes(1024 * 1024));
  git(folder, "init", "--quiet", "--bare", "--initial-branch=main", bare);
  git(bare, "config", "http.receivepack", "true");
  git(work, "init", "--quiet", "--initial-branch=main");
  git(work, "add", ".");
  git(work, "-c", "user.name=Forge", "-c", "user.email=forge@example.com", "commit", "--quiet", "--message=First");
  git(work, "push", "--quiet", bare, "main");
}

/** The newest commit's id. */
export function headOf(folder: string): string {
  return git(join(folder, REPOSITORY), "rev-parse", "main").trim();
}

function git(cwd: string, ...args: readonly string[]): string {
  return execFileSync("git", args, { cwd, encoding: "utf8", env: { PATH, HOME: cwd, GIT_CONFIG_NOSYSTEM: "1" } });
}

/** Answers a request below /git. Whether it may was asked before. */
export function serveRepository(folder: string, { entry, request, response, url }: Exchange): void {
  const child = spawn("git", ["http-backend"], {
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      PATH, HOME: folder, GIT_PROJECT_ROOT: folder, GIT_HTTP_EXPORT_ALL: "1", REQUEST_METHOD: entry.method, PATH_INFO: url.pathname, QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers["content-type"] ?? "", HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      GIT_PROTOCOL: request.headers["git-protocol"]?.toString() ?? "", REMOTE_USER: "agent", REMOTE_ADDR: entry.from,
    },
  });
  child.once("error", () => response.destroy());
  child.stdin.on("error", () => undefined); // it may end before it has read everything
  response.once("close", () => child.kill());
  request.pipe(createMeter((bytes) => noteReceived(entry, bytes))).pipe(child.stdin);
  let head = Buffer.alloc(0);
  const readHead = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    child.stdout.off("data", readHead);
    const { status, headers } = parseHead(head.subarray(0, end).toString());
    entry.status = status;
    response.writeHead(status, headers);
    const rest = head.subarray(end + 4);
    if (rest.length > 0) response.write(rest);
    noteSent(entry, rest.length);
    child.stdout.pipe(createMeter((bytes) => noteSent(entry, bytes))).pipe(response);
  };
  child.stdout.on("data", readHead);
}

/** The head of a CGI program's answer. Pure. */
function parseHead(text: string): { status: number; headers: { [name: string]: string } } {
  const headers = Object.fromEntries(text.split("\r\n").map((line): [string, string] => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
  const { status = "200", ...rest } = headers;
  return { status: Number.parseInt(status, 10), headers: rest };
}
