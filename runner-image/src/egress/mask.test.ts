import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import fc from "fast-check";
import { createMaskTable, formsOf, maskStream } from "./mask.ts";
import type { MaskTable } from "./mask.ts";

const SECRET = "ghp_s3cr3t/Value+with\"odd&<chars> ~";

function maskPieces(table: MaskTable, bytes: Buffer, sizes: readonly number[]): Buffer {
  const masker = table.start();
  const out: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    out.push(Buffer.from(masker.write(bytes.subarray(at, at + size))));
    at += size;
  }
  out.push(Buffer.from(masker.write(bytes.subarray(at))), masker.end());
  return Buffer.concat(out);
}

function maskText(secrets: readonly string[], text: string): string {
  return createMaskTable(secrets).text(text);
}

/** What a slow and simple program would answer. */
function expected(forms: readonly string[], text: string): string {
  const masked = Array.from(text, () => false);
  for (const form of forms) {
    for (let at = text.indexOf(form); at !== -1; at = text.indexOf(form, at + 1)) masked.fill(true, at, at + form.length);
  }
  return Array.from(text, (character, index) => (masked[index] === true ? "*" : character)).join("");
}

test("each usual form of a value becomes as many stars", () => {
  const forms = {
    raw: SECRET,
    base64: Buffer.from(SECRET).toString("base64"),
    base64url: Buffer.from(SECRET).toString("base64url"),
    percent: encodeURIComponent(SECRET),
    percentLower: encodeURIComponent(SECRET).replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase()),
    percentEvery: Buffer.from(SECRET).toString("hex").toUpperCase().replace(/../g, "%$&"),
    percentEveryLower: Buffer.from(SECRET).toString("hex").replace(/../g, "%$&"),
    form: new URLSearchParams({ a: SECRET }).toString().slice(2),
    json: JSON.stringify(SECRET).slice(1, -1),
    jsonSlash: JSON.stringify(SECRET).slice(1, -1).replaceAll("/", "\\/"),
    html: "ghp_s3cr3t/Value+with&quot;odd&amp;&lt;chars&gt; ~",
    htmlMustache: "ghp_s3cr3t&#x2F;Value+with&quot;odd&amp;&lt;chars&gt; ~",
    htmlLower: "ghp_s3cr3t&#x2f;Value+with&quot;odd&amp;&lt;chars&gt; ~",
    htmlGo: "ghp_s3cr3t/Value&#43;with&#34;odd&amp;&lt;chars&gt; ~",
    hex: Buffer.from(SECRET).toString("hex"),
    hexUpper: Buffer.from(SECRET).toString("hex").toUpperCase(),
  };
  for (const [name, form] of Object.entries(forms)) {
    const masked = maskText([SECRET], `before ${form} after`);
    assert.match(masked, /^before \*+=* after$/, name);
    assert.equal(masked.length, `before ${form} after`.length, name);
  }
});

test("a value is found where a server escapes for HTML or as Gson does", () => {
  const value = "a=b'c/d+e&f0";
  for (const form of ["a=b&#39;c/d+e&amp;f0", "a=b&#x27;c/d+e&amp;f0", "a&#x3D;b&#39;c&#x2F;d+e&amp;f0", "a=b&#x27;c&#x2F;d+e&amp;f0", "a=b&#39;c/d&#43;e&amp;f0", "a\\u003db\\u0027c/d+e\\u0026f0"]) {
    assert.equal(maskText([value], `<p>${form}</p>`), `<p>${"*".repeat(form.length)}</p>`);
  }
});

test("base64 of a longer text shows nothing of the value but the characters it shares with its neighbours", () => {
  for (const before of ["", "u", "us", "use", "user:"]) {
    const encoded = Buffer.from(`${before}${SECRET}tail`).toString("base64");
    const masked = maskText([SECRET], encoded);
    const start = Math.ceil((before.length * 8) / 6);
    const end = Math.floor(((before.length + SECRET.length) * 8) / 6);
    assert.equal(masked, encoded.slice(0, start) + "*".repeat(end - start) + encoded.slice(end));
  }
});

test("a value of less than eight characters is masked as it is, and nothing that is derived from it", () => {
  const base64 = Buffer.from("s3cret").toString("base64");
  assert.equal(maskText(["s3cret"], `s3cret ${base64}`), `****** ${base64}`);
});

test("a longer value that starts inside a shorter one's place is masked whole", () => {
  assert.equal(maskText(["cdefghij", "abcdefghijklmnop"], "xabcdefghijklmnopx"), `x${"*".repeat(16)}x`);
  assert.equal(maskText(["abcdefgh", "efghijkl"], "abcdefghijkl abcdefghefgh"), `${"*".repeat(12)} ${"*".repeat(8)}efgh`);
});

test("no value and an empty value mask nothing", () => {
  assert.equal(maskText([], "text"), "text");
  assert.equal(maskText([""], "text"), "text");
});

test("whatever the pieces: every place of every form is masked, every other byte and the length stay", () => {
  // Few letters, so that values overlap themselves and each other.
  const letters = fc.constantFrom("a", "b", "c");
  const value = fc.string({ unit: letters, minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 4 }), fc.array(fc.oneof(value, fc.nat(3)), { maxLength: 30 }), fc.array(fc.nat(7), { maxLength: 40 }), (secrets, parts, sizes) => {
      const text = parts.map((part) => (typeof part === "number" ? secrets[part % secrets.length] ?? "" : part)).join("");
      const masked = maskPieces(createMaskTable(secrets), Buffer.from(text), sizes).toString();
      assert.equal(masked, expected(secrets.flatMap(formsOf), text));
    }),
    { numRuns: 1_000 },
  );
});

test("a value among any bytes, in any form and any pieces, never comes out", () => {
  const value = fc.string({ minLength: 8, maxLength: 40 }).filter((text) => !/^\*+$/.test(text));
  fc.assert(
    fc.property(value, fc.uint8Array({ maxLength: 60 }), fc.nat(20), fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 60 }), (secret, noise, which, sizes) => {
      const forms = formsOf(secret);
      const form = Buffer.from(forms[which % forms.length] ?? "", "latin1");
      const text = Buffer.concat([noise, form, noise]);
      const masked = maskPieces(createMaskTable([secret]), text, sizes);
      assert.equal(masked.length, text.length);
      for (const known of forms) assert.equal(masked.includes(Buffer.from(known, "latin1")), /^\*+$/.test(known), known);
      assert.ok(masked.subarray(noise.length, noise.length + form.length).every((byte) => byte === 0x2a));
    }),
    { numRuns: 500 },
  );
});

test("what cannot become a value is not kept back", () => {
  const masker = createMaskTable([SECRET]).start();
  assert.equal(masker.write(Buffer.from("data: one\n\n")).toString(), "data: one\n\n");
  assert.equal(masker.write(Buffer.from(`event ${SECRET.slice(0, 5)}`)).toString(), "event ");
  assert.equal(masker.write(Buffer.from("x")).toString(), `${SECRET.slice(0, 5)}x`);
});

test("the piece that is given stays as it is", () => {
  const piece = Buffer.from(SECRET);
  createMaskTable([SECRET]).start().write(piece);
  assert.equal(piece.toString(), SECRET);
});

test("whole lines, and events of a stream, never wait for what comes next", async () => {
  const stream = maskStream(createMaskTable([SECRET, `${SECRET}-and-more`]));
  for (const line of [`data: ${SECRET.slice(0, -1)}\n\n`, `data: ${Buffer.from(SECRET).toString("base64").slice(0, 8)}\r\n`, `data: ${SECRET}\n\n`]) {
    stream.write(Buffer.from(line));
    const [piece] = (await once(stream, "data")) as [Buffer];
    assert.equal(piece.toString(), line.replace(SECRET, "*".repeat(SECRET.length)));
  }
});

test("no form of a value has a line break", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (value) => {
      for (const form of formsOf(value.replace(/[\u0000-\u001f\u007f]/g, "x"))) assert.doesNotMatch(form, /[\r\n]/);
    }),
  );
});
