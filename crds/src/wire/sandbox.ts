import type { ToolName } from "../policy/tools.ts";

// Runner → sandbox, HTTP/1.1 on port 8080 of the sandbox pod. Only runner pods of the Environment can connect (network policy), and
// only the holder of the session's bind key is served. Every request but `GET /healthz` carries `Authorization: Bearer <bind key>` and
// `Paddock-Epoch: <n>`. Errors are problem details with the types `unauthenticated`, `fenced`, `malformed`, `too-large`, `not-found`,
// `unavailable`.

/**
 * `PUT /v1/bind` BindRequest → 200 BindReply. The first bind sets the key for the pod's life; a later one needs the same key and the
 * same or a higher epoch; a higher epoch first ends the earlier runner's connections and kills its process groups. 403 `fenced` otherwise.
 */
export interface BindRequest {
  readonly session: string;
  /** What the pod must not reach, tried before its first bind is answered; later binds get the first one's report, for commands have run since. */
  readonly probe: readonly ProbeTarget[];
  /** PEM of the authorities that programs are to trust besides the image's own: the runner's own for this epoch and those of the Environment. */
  readonly trust: string;
}
export interface BindReply {
  readonly workspace: string;
  /** Version of this protocol. */
  readonly protocol: 1;
  /** Absent from tool servers of before it was there: nothing is proven then. */
  readonly isolation?: IsolationReport;
}

/** Something that must not answer. `host` is an IP address. `dns` asks for a name by UDP, `tcp` opens a connection and sends nothing. */
export interface ProbeTarget {
  /** For people, e.g. "API server". */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly protocol: "tcp" | "dns";
}

/** What was tried and what answered, each as `<name> (<protocol> <host>:<port>)`; the tool server adds targets that it alone knows. */
export interface IsolationReport {
  readonly probed: readonly string[];
  readonly open: readonly string[];
}

/** Most targets of a probe, of the runner's and of the tool server's own. */
export const MAX_PROBES = 64;

/**
 * `PUT /v1/files` SandboxFiles → 200 SandboxFilesReply, all or an error: the session's files, before its first call. Once in the pod's life: what a
 * call has made of them since is not undone, so a repeated request changes nothing. Each file appears whole or not at all; folders are made.
 * 400 `malformed` for a path that is not relative, leads out of the workspace, through a symbolic link or into a file; 413 `too-large`;
 * 503 `unavailable` when the workspace does not take them, e.g. a full disk.
 */
export interface SandboxFiles {
  readonly files: readonly { readonly path: string; readonly content: string }[];
  /** True in a workspace that outlives pods: what is there already stays as it is. */
  readonly keepExisting?: boolean;
}
export interface SandboxFilesReply {
  /** False: they were placed before. */
  readonly placed: boolean;
}

/**
 * `POST /v1/calls` SandboxCall → 200 SandboxResult when the tool ran or failed as tools do (a file that does not exist is a result, not an
 * HTTP error). One request, one run: a repeated `call`+`attempt` answers 409 `conflict`. Closing the connection kills the call's processes.
 */
export interface SandboxCall {
  /** The call's identity, `<run>/<turn>/<index>`. */
  readonly call: string;
  readonly attempt: number;
  readonly tool: ToolName;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** The call is stopped after this many seconds. */
  readonly timeoutSeconds: number;
}

export interface SandboxResult {
  readonly status: "ok" | "error" | "timeout";
  /** UTF-8 text, cut to the tool's limit (bash: last 2,000 lines or 48 KiB; others: 32 KiB head and tail) with a line that says so. */
  readonly content: string;
  /** Size in bytes before the cut. */
  readonly bytes: number;
  readonly truncated: boolean;
  readonly seconds: number;
}

/** A sandbox is not believed more than a day: a number that no status can hold would stop every later status of the Session. */
const MOST_SECONDS = 86_400;

/** A result from a sandbox, which may be hostile, members that we do not know dropped; undefined for anything else. Without zod: the runner loads it at its start. */
export function parseSandboxResult(value: unknown): SandboxResult | undefined {
  if (value === null || typeof value !== "object") return undefined;
  const { status, content, bytes, truncated, seconds } = value as Readonly<Record<string, unknown>>;
  if (status !== "ok" && status !== "error" && status !== "timeout") return undefined;
  if (typeof content !== "string" || typeof truncated !== "boolean") return undefined;
  return isCount(bytes) && isDuration(seconds) ? { status, content, bytes, truncated, seconds } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isDuration(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= MOST_SECONDS;
}

/**
 * `GET /v1/egress` with `Connection: Upgrade`, `Upgrade: paddock-egress`: after the 101 the roles turn round: the sandbox speaks HTTP/2 as a
 * client and the runner answers. Each request of a program in the sandbox to its proxy (127.0.0.1:3128) becomes one stream: CONNECT as CONNECT
 * with `:authority`, plain HTTP as the request itself with its absolute target. One channel at a time: a newer one of the same or a higher epoch replaces it.
 */
export const EGRESS_UPGRADE = "paddock-egress";

/** Where programs in the sandbox find their proxy. */
export const SANDBOX_PROXY_PORT = 3128;
