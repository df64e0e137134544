import { isAbsolute, relative, resolve } from "node:path";

// The container is the fence, not the path: an absolute path, `..` and a symbolic link lead wherever the sandbox's user may go, as they do in
// bash. What a link in the workspace points at is the sandbox's own matter; nothing outside trusts a path.

/** The absolute path that an argument means. Pure. */
export function locate(workspace: string, path: string): string {
  return resolve(workspace, path);
}

/** A path as the model reads it: relative inside the workspace, absolute outside. Pure. */
export function displayPath(workspace: string, path: string): string {
  const within = relative(workspace, path);
  return within === "" || within === ".." || within.startsWith("../") || isAbsolute(within) ? path : within;
}
