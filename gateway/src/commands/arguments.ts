import { parseArgs } from "node:util";

export type Command =
  | { readonly kind: "serve" }
  | { readonly kind: "help" }
  | { readonly kind: "verify"; readonly session: string | undefined }
  | { readonly kind: "backup"; readonly to: string }
  | { readonly kind: "restore"; readonly from: string; readonly force: boolean };

export const HELP = `Usage: paddock-gateway [COMMAND]

  serve                        Serve the session log (also without a command).
  verify [--session UID]       Read every log, or one, while the gateway runs: is it what was appended?
                               Exit code 1 when one is not, each with its place.
  backup --to FILE             Copy the store to a new file while the gateway runs, and verify the copy.
                               It holds the keys of the gateway's authorities: keep it as secret as they are.
  restore --from FILE [--force]
                               Make the store from a backup; the gateway must not run. --force replaces a
                               store that is there. Sessions that went on since the backup end as LogLost.
  --help                       This.

Where the store is: PADDOCK_STORE, PADDOCK_DATA_DIR, PADDOCK_POSTGRES_URL_FILE, as in the gateway's pod.
`;

const options = {
  help: { type: "boolean", short: "h" },
  session: { type: "string" },
  to: { type: "string" },
  from: { type: "string" },
  force: { type: "boolean" },
} as const;

type Option = keyof typeof options;

const OPTIONS_OF = { serve: [], verify: ["session"], backup: ["to"], restore: ["from", "force"] } as const satisfies Record<string, readonly Option[]>;

type Name = keyof typeof OPTIONS_OF;

/** The command in these arguments. Throws an Error whose sentence says what to give. */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  if (values.help === true || positionals[0] === "help") return { kind: "help" };
  const [name = "serve", ...more] = positionals;
  if (!isName(name)) throw new Error(`there is no command ${JSON.stringify(name)}: give ${Object.keys(OPTIONS_OF).join(", ")} or --help`);
  if (more[0] !== undefined) throw new Error(`${name} takes no argument ${JSON.stringify(more[0])}: see --help`);
  const known: readonly string[] = OPTIONS_OF[name];
  const foreign = Object.keys(values).find((option) => !known.includes(option));
  if (foreign !== undefined) throw new Error(`${name} has no option --${foreign}: see --help`);
  return commandOf(name, values);
}

function isName(name: string): name is Name {
  return Object.hasOwn(OPTIONS_OF, name);
}

function commandOf(name: Name, values: { readonly session?: string; readonly to?: string; readonly from?: string; readonly force?: boolean }): Command {
  switch (name) {
    case "serve":
      return { kind: "serve" };
    case "verify":
      return { kind: "verify", session: values.session };
    case "backup":
      return { kind: "backup", to: required(values.to, "backup needs --to FILE: the file to write, which must not be there yet") };
    case "restore":
      return { kind: "restore", from: required(values.from, "restore needs --from FILE: a file that backup wrote"), force: values.force === true };
  }
}

function required(value: string | undefined, sentence: string): string {
  if (value === undefined || value === "") throw new Error(sentence);
  return value;
}
