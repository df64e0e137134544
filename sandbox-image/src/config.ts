/** What the tool server is told, and what is the same in every pod. */
export interface Config {
  /** Where commands run and relative paths start. */
  readonly workspace: string;
  /** HOME of commands: beside the workspace, so that no tool's dotfiles get into it. Made when missing. */
  readonly home: string;
  /** PATH of commands, as the image sets it. */
  readonly path: string;
  /** Where the runner finds the tool server. */
  readonly toolPort: number;
}

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Reads the environment. Throws a sentence that names the variable. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const workspace = env.PADDOCK_WORKSPACE ?? "/workspace";
  if (!workspace.startsWith("/")) throw new Error(`PADDOCK_WORKSPACE must be an absolute path, not ${JSON.stringify(workspace)}`);
  return { workspace, home: "/tmp/home", path: env.PATH ?? DEFAULT_PATH, toolPort: 8080 };
}
