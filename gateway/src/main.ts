import { HELP, parseCommand } from "./commands/arguments.ts";
import type { Command } from "./commands/arguments.ts";

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** Each command loads only what it needs. Resolves with the exit code. */
async function run(command: Command): Promise<number> {
  if (command.kind === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  if (command.kind === "serve") return (await import("./commands/serve.ts")).runServe();
  const store = (await import("./config.ts")).readStoreConfig();
  switch (command.kind) {
    case "verify":
      return (await import("./commands/verify.ts")).runVerify(store, command.session, print);
    case "backup":
      return (await import("./commands/copies.ts")).runBackup(store, command.to, print);
    case "restore":
      return (await import("./commands/copies.ts")).runRestore(store, command, print);
  }
}

try {
  process.exitCode = await run(parseCommand(process.argv.slice(2)));
} catch (error) {
  // No logger may exist yet, and the first thing to read is the sentence that says what to fix.
  process.stderr.write(`paddock-gateway: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
