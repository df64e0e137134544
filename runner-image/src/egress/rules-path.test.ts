import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findAmbiguity, isBelow } from "./rules-path.ts";

test("a path stands for itself and what is below it, by whole segments", () => {
  for (const path of ["/repos/acme", "/repos/acme?q=/../x", "/repos/acme/", "/repos/acme/a/b", "/repos/acme?"]) assert.ok(isBelow("/repos/acme", path), path);
  for (const path of ["/repos", "/repos/acme2", "/repos/acm", "/", "/Repos/acme", "/repos/%61cme", "/x/repos/acme", "/repos/other?/repos/acme"]) assert.ok(!isBelow("/repos/acme", path), path);
  for (const path of ["/", "/a", "/a/b?c"]) assert.ok(isBelow("/", path), path);
  assert.ok(isBelow("/a/", "/a/b"));
  assert.ok(isBelow("/a/", "/a/"));
  assert.ok(!isBelow("/a/", "/a"));
});

test("paths that servers read in different ways are told", () => {
  const strange = [
    "", "*", "http://other/a", "a/b", "/a/../b", "/a/..", "/..", "/a/./b", "/.", "/a//b", "//a", "/a\\b", "/a/..;/b", "/a/..;x=1/b", "/a/.;/b", "/a#b", "/a b", "/ä", "/a\u0000", "/a\t",
    "/a/%2e%2e/b", "/a/%2E./b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a/%252e%252e/b", "/a%00", "/a%", "/a%zz", "/a%1",
  ];
  for (const path of strange) assert.notEqual(findAmbiguity(path), undefined, JSON.stringify(path));
  for (const path of ["/", "/a/b", "/a/", "/a.b", "/...", "/.well-known/x", "/a..b", "/@scope%20x/y", "/a;v=1/b", "/a?x=//..%2f\\", "/~me/(x)!$&'*+,=:"]) assert.equal(findAmbiguity(path), undefined, path);
});

test("a plain path that is allowed stays below its rule however a server reads it", () => {
  const piece = fc.constantFrom("a", "acme", "repos", "..", ".", "", "%2e", "%2E%2e", "%2f", "..;", "\\", "%5c", "%25", ";", "?", "//", "%61");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const path = `/repos/acme/${pieces.join("/")}`;
      if (findAmbiguity(path) !== undefined || !isBelow("/repos/acme", path)) return;
      // The ways in which servers are known to read: dots resolved, decoded first, decoded twice, cut at semicolons, backslashes turned.
      const decode = (text: string): string => decodeURIComponent(text);
      const [plain = ""] = path.split("?", 1);
      for (const read of [plain, decode(plain), decode(decode(plain)), plain.replace(/;[^/]*/g, ""), plain.replaceAll("\\", "/")]) {
        assert.match(new URL(`http://h${read}`).pathname, /^\/repos\/acme(\/|$)/, path);
      }
    }),
    { numRuns: 2000 },
  );
});
