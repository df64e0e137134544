import assert from "node:assert/strict";
import { test } from "node:test";
import { HELP, parseCommand } from "./arguments.ts";

test("no command serves", () => {
  assert.deepEqual(parseCommand([]), { kind: "serve" });
  assert.deepEqual(parseCommand(["serve"]), { kind: "serve" });
});

test("each command takes its own options", () => {
  assert.deepEqual(parseCommand(["verify"]), { kind: "verify", session: undefined });
  assert.deepEqual(parseCommand(["verify", "--session", "u1"]), { kind: "verify", session: "u1" });
  assert.deepEqual(parseCommand(["backup", "--to=/backup/paddock.db"]), { kind: "backup", to: "/backup/paddock.db" });
  assert.deepEqual(parseCommand(["restore", "--from", "/x", "--force"]), { kind: "restore", from: "/x", force: true });
  assert.deepEqual(parseCommand(["restore", "--from", "/x"]), { kind: "restore", from: "/x", force: false });
});

test("help is to be had everywhere, and names every command", () => {
  for (const args of [["--help"], ["-h"], ["help"], ["backup", "--help"]]) assert.deepEqual(parseCommand(args), { kind: "help" });
  for (const word of ["serve", "verify", "--session", "backup", "--to", "restore", "--from", "--force"]) assert.ok(HELP.includes(word), word);
});

test("what is not understood is named with what to give", () => {
  const says = (args: readonly string[], sentence: RegExp) => assert.throws(() => parseCommand(args), sentence);
  says(["dump"], /no command "dump": give serve, verify, backup, restore/);
  says(["toString"], /no command "toString"/);
  says(["verify", "u1"], /verify takes no argument "u1"/);
  says(["verify", "--force"], /verify has no option --force/);
  says(["serve", "--to", "x"], /serve has no option --to/);
  says(["verify", "--quiet"], /--quiet/);
  says(["backup"], /backup needs --to FILE/);
  says(["backup", "--to", ""], /backup needs --to FILE/);
  says(["restore"], /restore needs --from FILE/);
});
