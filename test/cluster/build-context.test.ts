import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { contentKey, contextFiles, copySources, isIgnored, stageContext } from "./build-context.ts";

const dockerfile = `FROM node:24-slim
COPY package*.json ./
copy --chown=1000:1000 src \\
     extra/one.txt /opt/
ADD ["with space.txt", "/opt/"]
COPY --from=builder /built /built
RUN echo COPY nothing
`;

function withContext(work: (context: string) => void): void {
  const context = mkdtempSync(join(tmpdir(), "paddock-context-"));
  try {
    for (const folder of ["src/deep", "src/node_modules/x", "extra"]) mkdirSync(join(context, folder), { recursive: true });
    const files = [
      "package.json", "package-lock.json", "src/a.ts", "src/a.test.ts", "src/deep/b.ts", "src/node_modules/x/c.js", "extra/one.txt", "extra/two.txt", "with space.txt",
    ];
    for (const file of files) writeFileSync(join(context, file), file);
    writeFileSync(join(context, "Dockerfile"), dockerfile);
    writeFileSync(join(context, ".dockerignore"), "# comment\n**/node_modules\n**/*.test.ts\n");
    work(context);
  } finally {
    rmSync(context, { recursive: true });
  }
}

test("what a Dockerfile copies is read off it", () => {
  assert.deepEqual(copySources(dockerfile), ["package*.json", "src", "extra/one.txt", "with space.txt"]);
  assert.deepEqual(copySources("COPY . /app\nCOPY ./x ./y /app/\n"), [".", "x", "y"]);
});

test("the context is what is copied and not ignored", () => withContext((context) => {
  assert.deepEqual(contextFiles(context, "Dockerfile"), [
    "Dockerfile", "extra/one.txt", "package-lock.json", "package.json", "src/a.ts", "src/deep/b.ts", "with space.txt",
  ]);
}));

test("a missing Dockerfile and a missing source are named", () => withContext((context) => {
  assert.throws(() => contextFiles(context, "other/Dockerfile"), /other\/Dockerfile does not exist/);
  writeFileSync(join(context, "Dockerfile"), "FROM x\nCOPY gone /\n");
  assert.throws(() => contextFiles(context, "Dockerfile"), /copies gone, which does not exist/);
  writeFileSync(join(context, ".dockerignore"), "!src\n");
  assert.throws(() => contextFiles(context, "Dockerfile"), /exception !src/);
}));

test("an ignored folder takes everything in it along", () => {
  assert.equal(isIgnored("a/node_modules/x/y.js", ["**/node_modules"]), true);
  assert.equal(isIgnored("a/b.test.ts", ["**/*.test.ts"]), true);
  assert.equal(isIgnored("docs/x.md", ["docs"]), true);
  assert.equal(isIgnored("a/docs/x.md", ["docs"]), false);
});

test("the key changes with a content, a name, an executable bit and the base, and with nothing else", () => withContext((context) => {
  const key = (base = "base"): string => contentKey(context, contextFiles(context, "Dockerfile"), base);
  const first = key();
  assert.match(first, /^[0-9a-f]{12}$/);
  writeFileSync(join(context, "extra/two.txt"), "changed, but not copied");
  assert.equal(key(), first);
  assert.notEqual(key("other base"), first);
  chmodSync(join(context, "src/a.ts"), 0o755);
  const executable = key();
  assert.notEqual(executable, first);
  writeFileSync(join(context, "src/a.ts"), "changed");
  assert.notEqual(key(), executable);
}));

test("a staged context holds just the files", () => withContext((context) => {
  const target = mkdtempSync(join(tmpdir(), "paddock-staged-"));
  try {
    stageContext(context, ["src/a.ts", "Dockerfile"], target);
    assert.deepEqual(readdirSync(target, { recursive: true }).sort(), ["Dockerfile", "src", "src/a.ts"]);
    assert.equal(readFileSync(join(target, "src/a.ts"), "utf8"), "src/a.ts");
  } finally {
    rmSync(target, { recursive: true });
  }
}));
