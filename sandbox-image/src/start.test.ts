import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

const START = join(import.meta.dirname, "../start.sh");
const TRIES = "for what in environ mem maps fd/1; do head -c 1 /proc/$PPID/$what > /dev/null 2>&1 && echo $what is read; done; echo forged 2> /dev/null > /proc/$PPID/fd/1; echo tried";

/** What a command sees of the process that runs it, which is started with the words given. */
function seenBy(t: TestContext, ...start: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "paddock-start-"));
  t.after(() => { rmSync(folder, { recursive: true, force: true }); });
  const script = join(folder, "server.ts");
  writeFileSync(script, `import { spawnSync } from "node:child_process"; import { isGuarded } from ${JSON.stringify(join(import.meta.dirname, "processes.ts"))};
    const { stdout } = spawnSync("/bin/bash", ["-c", ${JSON.stringify(TRIES)}]); process.stdout.write(isGuarded() + "\\n" + stdout);`);
  // Root may read everything; a pod's user has no capability, which setpriv takes away here.
  const asUser = process.getuid?.() === 0 ? ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] : [];
  const given = [...asUser, "/bin/sh", "-c", 'exec "$@"', "sh", ...start, "--disable-warning=ExperimentalWarning", script];
  return execFileSync("/usr/bin/env", given, { env: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, TMPDIR: folder } }).toString();
}

test("commands can neither read the tool server's memory and environment nor write to its log", (t) => {
  assert.equal(seenBy(t, START), "true\ntried\n");
  assert.match(seenBy(t, process.execPath), /^false\nenviron is read\nmaps is read\n/, "what commands see of a process that is started as usual");
});
