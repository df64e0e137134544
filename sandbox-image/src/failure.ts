/** A tool could not do what was asked; the message is for the model, which may repair it. */
export class ToolFailure extends Error {}

const SENTENCES: Readonly<Record<string, (path: string) => string>> = {
  ENOENT: (path) => `${path} does not exist`,
  ENOTDIR: (path) => `${path}: a part of this path is a file, not a folder`,
  EISDIR: (path) => `${path} is a folder, not a file`,
  EACCES: (path) => `${path}: permission denied; the workspace and /tmp are writable`,
  EPERM: (path) => `${path}: operation not permitted`,
  EROFS: (path) => `${path} is on a read-only file system; the workspace and /tmp are writable`,
  ENOSPC: (path) => `${path}: no space left; delete what is not needed`,
  EDQUOT: (path) => `${path}: no space left; delete what is not needed`,
  EFBIG: (path) => `${path} would be too large`,
  ELOOP: (path) => `${path}: too many symbolic links`,
  ENAMETOOLONG: (path) => `${path.slice(0, 200)}…: the name is too long`,
  EMFILE: (path) => `${path}: too many open files; try again`,
  ENXIO: (path) => `${path} is a pipe or device, not a regular file`,
  ETXTBSY: (path) => `${path} is a program that is running`,
  ERR_INVALID_ARG_VALUE: (path) => `${JSON.stringify(path)} is not a path: it holds a null byte`,
};

/** The failure that a file operation's error stands for; an error that is none of the system's is given back as it is. Pure. */
export function failureOf(error: unknown, path: string): unknown {
  const code = codeOf(error);
  if (code === undefined || error instanceof ToolFailure) return error;
  return new ToolFailure((Object.hasOwn(SENTENCES, code) ? SENTENCES[code] : undefined)?.(path) ?? `${path}: ${code}`, { cause: error });
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** For the log. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
