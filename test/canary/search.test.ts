import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { makeCanaries, parseCanaries } from "./canaries.ts";
import type { Canary } from "./canaries.ts";
import { findCanaries } from "./search.ts";

const PLANTED = makeCanaries(7);
/** Never planted: whatever finds one of these finds what is not there. */
const OTHERS = makeCanaries(7).map(({ name, value }) => ({ name: `other ${name}`, value }));

const fold = (text: string, width: number, end: string): string => text.replace(new RegExp(`.{${width}}`, "g"), `$&${end}`);
const base64 = (value: string | Buffer): string => Buffer.from(value).toString("base64");
const hexOf = (value: string): string => Buffer.from(value).toString("hex");
const percent = (value: string): string => [...Buffer.from(value)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
const unicode = (value: string): string => Array.from(value, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
const noise = (length: number): string => "lorem ipsum dolor sit amet\n".repeat(Math.ceil(length / 27));
const utf16be = (value: string): Buffer => Buffer.from(value, "utf16le").swap16();
const helm = (value: string): string => base64(base64(gzipSync(JSON.stringify({ manifest: `${noise(300)}${JSON.stringify(value)}` }))));

/** Ways of writing a secret that are all to be found. */
const ENCODINGS: readonly (readonly [name: string, write: (value: string) => string | Buffer])[] = [
  ["raw", (value) => value],
  ["reversed", (value) => Buffer.from(value).reverse().toString()],
  ...[0, 1, 2].map((pad) => [`base64, alignment ${pad}`, (value: string) => base64(`${"x".repeat(pad)}${value}tail`)] as const),
  ["base64 folded at 19", (value) => fold(base64(`head${value}tail`), 19, "\n")],
  ["base64 folded at 76 with CR LF", (value) => fold(base64(`${"x".repeat(50)}${value}tail`), 76, "\r\n")],
  ["base64 folded in JSON", (value) => JSON.stringify({ text: fold(base64(`${value}tail`), 16, "\n") })],
  ["base64url", (value) => Buffer.from(`ab${value}`).toString("base64url")],
  ["base64 of base64", (value) => base64(base64(`a${value}`))],
  ["hex, lower", hexOf],
  ["hex, upper", (value) => hexOf(value).toUpperCase()],
  ["hex with colons", (value) => fold(hexOf(value), 2, ":")],
  ["hex as a list", (value) => [...Buffer.from(value)].map((byte) => `0x${byte.toString(16).padStart(2, "0")}`).join(", ")],
  ["hex escapes", (value) => [...Buffer.from(value)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")],
  ["percent, what must", encodeURIComponent],
  ["percent, all of it", percent],
  ["percent twice", (value) => encodeURIComponent(percent(value))],
  ["JSON", (value) => JSON.stringify(value)],
  ["JSON in JSON", (value) => JSON.stringify({ inner: JSON.stringify({ value }) })],
  ["unicode escapes", unicode],
  ["HTML", (value) => value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;")],
  ["HTML numbers", (value) => Array.from(value, (one) => `&#${one.charCodeAt(0)};`).join("")],
  ["UTF-16, little end first", (value) => Buffer.from(value, "utf16le")],
  ["UTF-16, big end first", utf16be],
  ["gzip", (value) => gzipSync(noise(500) + value)],
  ["gzip in the middle of other bytes", (value) => Buffer.concat([Buffer.from(noise(100)), gzipSync(value), Buffer.from(noise(100))])],
  ["gzip, cut", (value) => gzipSync(value + noise(100_000), { level: 0 }).subarray(0, 2000)],
  ["zlib in the middle of other bytes", (value) => Buffer.concat([Buffer.from(noise(100)), deflateSync(value), Buffer.from(noise(100))])],
  ["zstd in the middle of other bytes", (value) => Buffer.concat([Buffer.from(noise(100)), zstdCompressSync(value), Buffer.from(noise(100))])],
  ["brotli", (value) => brotliCompressSync(value)],
  ["gzip in gzip", (value) => gzipSync(gzipSync(value))],
  ["base64 of gzip in JSON", (value) => JSON.stringify({ data: base64(gzipSync(value)) })],
  ["Helm's release", helm],
  ["split by lines", (value) => fold(value, 7, "\n")],
  ["split by quotes", (value) => fold(value.replaceAll(/["\\]/g, "\\$&"), 40, '" + "')],
  ["split by a margin", (value) => fold(value, 12, "\n| ")],
];

describe("every way of writing a secret", () => {
  for (const [name, write] of ENCODINGS) {
    it(`finds it: ${name}`, () => {
      for (const canary of PLANTED) {
        const found = findCanaries(write(canary.value), [...OTHERS, ...PLANTED]);
        assert.deepEqual([...new Set(found.map((one) => one.canary))], [canary.name], `${canary.name} as ${String(write(canary.value)).slice(0, 200)}`);
      }
    });

    it(`finds nothing where another was written: ${name}`, () => {
      for (const { value } of OTHERS) assert.deepEqual(findCanaries(write(value), PLANTED), [], name);
    });
  }
});

describe("findings", () => {
  const [canary] = PLANTED;
  if (canary === undefined) throw new Error("there is no canary");

  it("name the line and how it was written, the shortest way only", () => {
    assert.deepEqual(findCanaries(`one\ntwo ${canary.value}\n`, [canary]), [{ canary: canary.name, encoding: "raw", line: 2 }]);
    assert.deepEqual(findCanaries(`one\ntwo\n${JSON.stringify(gzipSync(canary.value).toString("base64"))}`, [canary]), [{ canary: canary.name, encoding: "base64 > gzip", line: 3 }]);
  });

  it("never hold the secret", () => {
    for (const [, write] of ENCODINGS) assert.ok(!JSON.stringify(findCanaries(write(canary.value), [canary])).includes(canary.value));
  });

  it("are none for a part of the secret, and none in random bytes", () => {
    assert.deepEqual(findCanaries(`${canary.value.slice(0, -1)} ${canary.value.slice(1)}`, [canary]), []);
    assert.deepEqual(findCanaries(Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7919 + (index >> 8) * 104729) & 255)), PLANTED), []);
  });

  it("come from long text too", () => {
    const long = `${noise(6 * 2 ** 20)}\n${JSON.stringify({ header: `Basic ${base64(`user:${canary.value}`)}` })}\n${noise(1000)}`;
    assert.equal(findCanaries(long, [canary]).length, 1);
  });
});

describe("values to look for", () => {
  it("are random, of several shapes, and named without them", () => {
    const canaries: readonly Canary[] = makeCanaries(20);
    assert.equal(new Set(canaries.map(({ value }) => value)).size, 20);
    for (const { name, value } of canaries) assert.ok(value.length >= 24 && !name.includes(value), name);
  });

  it("are read one a line, and refused when they are short or none", () => {
    assert.deepEqual(parseCanaries("a-long-enough-value\r\n\nanother-long-value\n"), [{ name: "line 1", value: "a-long-enough-value" }, { name: "line 3", value: "another-long-value" }]);
    assert.throws(() => parseCanaries("short\n"), /line 1 has 5 bytes: a value to look for needs 12 or more/);
    assert.throws(() => parseCanaries("\n"), /the file holds no value/);
  });
});
