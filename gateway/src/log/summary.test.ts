import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseNewEvent } from "@paddock/api/log/events";
import { summarise } from "./summary.ts";

const rows: readonly { readonly name: string; readonly tool: string; readonly args: Record<string, unknown>; readonly summary: string }[] = [
  { name: "a command as it is", tool: "bash", args: { command: `rm -rf "build" && echo 'ök'` }, summary: `rm -rf "build" && echo 'ök'` },
  { name: "a command with its time", tool: "bash", args: { command: "make", timeoutSeconds: 60 }, summary: "make (timeoutSeconds: 60)" },
  { name: "lines of a command on one line", tool: "bash", args: { command: "a\nb\r\n\tc" }, summary: "a\\nb\\r\\n\\tc" },
  { name: "a backslash doubled, so that it is no line", tool: "bash", args: { command: "printf 'a\\nb'" }, summary: "printf 'a\\\\nb'" },
  { name: "what turns the direction of writing", tool: "bash", args: { command: "echo \u202Eabc\u2066" }, summary: "echo \\u{202e}abc\\u{2066}" },
  { name: "what has no width", tool: "bash", args: { command: "a\u200Bb\u00ADc\uFEFFd\u3164e\u115Ff\u2800g" }, summary: "a\\u{200b}b\\u{ad}c\\u{feff}d\\u{3164}e\\u{115f}f\\u{2800}g" },
  { name: "characters of escape sequences", tool: "bash", args: { command: "\u001b[2Kls\u0007\u009b" }, summary: "\\u{1b}[2Kls\\u{7}\\u{9b}" },
  { name: "other lines and blanks", tool: "bash", args: { command: "a\u2028b\u2029c\u00A0d\u3000e" }, summary: "a\\u{2028}b\\u{2029}c\\u{a0}d\\u{3000}e" },
  { name: "half a character, and hidden tags", tool: "bash", args: { command: "\ud83e \u{E0041}" }, summary: "\\u{d83e} \\u{e0041}" },
  { name: "letters of any script", tool: "bash", args: { command: "echo Grüße 你好 שלום" }, summary: "echo Grüße 你好 שלום" },
  { name: "arguments of other tools by their names, short ones first", tool: "write", args: { content: "line\nof \"text\"", path: "a.txt" }, summary: `path: "a.txt", content: "line\\nof \\"text\\""` },
  { name: "values that are no text", tool: "post_note", args: { to: { a: [1, "x"] }, now: true }, summary: `now: true, to: {"a":[1,"x"]}` },
  { name: "a hidden character in a name", tool: "post_note", args: { "a\u202E": 1 }, summary: "a\\u{202e}: 1" },
  { name: "no arguments", tool: "post_note", args: {}, summary: "" },
  { name: "a command that is none", tool: "bash", args: { command: 5 }, summary: "command: 5" },
];
for (const { name, tool, args, summary } of rows) {
  test(`shows ${name}`, () => assert.equal(summarise(tool, args), summary));
}

test("a long text says that it was cut, and takes no other's place", () => {
  const command = summarise("bash", { command: `${"x".repeat(5000)}; rm -rf /`, timeoutSeconds: 5 });
  assert.match(command, /^x+… \(5010 bytes, the log has all of them\) \(timeoutSeconds: 5\)$/);
  const write = summarise("write", { content: "ö".repeat(9000), path: "a.txt" });
  assert.match(write, /^path: "a\.txt", content: "ö+… \(\d+ bytes, the log has all of them\)$/);
});

test("is at most 2048 bytes of what can be seen, whatever the arguments", () => {
  const text = fc.oneof(fc.string({ unit: "binary", maxLength: 3000 }), fc.constantFrom("\u202e", "\n", "🦔", "\\", "\ud83e").map((character) => character.repeat(2100)));
  fc.assert(fc.property(fc.constantFrom("bash", "write", "post_note"), fc.dictionary(fc.oneof(fc.constant("command"), text), fc.oneof(text, fc.jsonValue())), (tool, args) => {
    const summary = summarise(tool, args);
    assert.ok(Buffer.byteLength(summary) <= 2048, `${Buffer.byteLength(summary)} bytes`);
    assert.doesNotMatch(summary, /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}](?<! )/u);
    const event = parseNewEvent({ type: "approval.requested", data: { call: "root/1/0", tool, fingerprint: "f", summary, argumentsDigest: "d", expiresAt: "2026-01-01T00:00:00.000Z" } });
    assert.ok("event" in event);
  }));
});
