import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_GREETING_BYTES, readGreeting } from "./hello.ts";
import { helloOf } from "./testdata/hello.ts";

/** The same handshake in records of so many bytes. */
function cut(hello: Buffer, size: number): Buffer {
  const body = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size);
    records.push(Buffer.from([0x16, 3, 1, piece.length >> 8, piece.length & 0xff]), piece);
  }
  return Buffer.concat(records);
}

const vector = (width: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(width);
  length.writeUIntBE(body.length, 0, width);
  return Buffer.concat([length, body]);
};
const sni = (...names: readonly string[]): Buffer => Buffer.concat([Buffer.from([0, 0]), vector(2, vector(2, ...names.map((name) => Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name, "latin1"))]))))]);
const record = (body: Buffer): Buffer => Buffer.concat([Buffer.from([0x16, 3, 1]), vector(2, body)]);
/** A ClientHello of these extensions. */
const made = (...extensions: readonly Buffer[]): Buffer =>
  record(Buffer.concat([Buffer.from([1]), vector(3, Buffer.from([3, 3]), Buffer.alloc(32, 7), vector(1), vector(2, Buffer.from([0x13, 1])), vector(1, Buffer.from([0])), vector(2, ...extensions))]));

const tls = (name: string | undefined): object => ({ kind: "Tls", name });

test("the greetings of a real client name their host, in every version", async () => {
  for (const options of [{}, { maxVersion: "TLSv1.2" }, { minVersion: "TLSv1.3" }, { ALPNProtocols: ["h2", "http/1.1"] }] as const) {
    assert.deepEqual(readGreeting(await helloOf({ servername: "Api.Example.com", ...options })), tls("api.example.com"));
  }
  assert.deepEqual(readGreeting(await helloOf({})), tls(undefined));
});

test("a greeting in pieces is asked for until it is whole, however it is cut", async () => {
  const hello = await helloOf({ servername: "api.example.com" });
  for (const bytes of [hello, cut(hello, Math.ceil(hello.length / 15)), cut(hello, 300), cut(hello, hello.length - 6), Buffer.concat([hello, Buffer.from("more behind it")])]) {
    let wanted = 1;
    for (;;) {
      const greeting = readGreeting(bytes.subarray(0, wanted));
      if (greeting.kind !== "Missing") {
        assert.deepEqual(greeting, tls("api.example.com"));
        break;
      }
      assert.ok(greeting.atLeast > wanted && greeting.atLeast <= bytes.length, `${wanted} of ${bytes.length}`);
      wanted = greeting.atLeast;
    }
  }
});

test("plain HTTP is known by its method", () => {
  for (const text of ["GET / HTTP/1.1\r\n", "POST http://a/ HTTP/1.1\r\n", "M ", "PRI * HTTP/2.0\r\n", "VERSION-CONTROL"]) {
    assert.equal(readGreeting(Buffer.from(text)).kind, text.startsWith("VERSION-") ? "Unknown" : "Http", text);
  }
  for (const text of ["G", "GET", "PROPPATCH", "ABCDEFGHIJKLMNOP"]) assert.deepEqual(readGreeting(Buffer.from(text)), { kind: "Missing", atLeast: text.length + 1 });
  for (const text of [" ", "get / HTTP/1.1", "SSH-2.0-OpenSSH", "\r\nGET / ", "ABCDEFGHIJKLMNOPQ /", "EHLO\r\n", "\0\0"]) assert.deepEqual(readGreeting(Buffer.from(text)), { kind: "Unknown" }, JSON.stringify(text));
});

test("what two readers could read differently is no greeting", () => {
  const name = sni("a.example");
  assert.deepEqual(readGreeting(made(name)), tls("a.example"));
  assert.deepEqual(readGreeting(made()), tls(undefined));
  const broken = {
    "two extensions with names": made(name, sni("b.example")),
    "two names": made(sni("a.example", "b.example")),
    "no name in the list": made(Buffer.from([0, 0, 0, 2, 0, 0])),
    "another type of name": made(Buffer.from([0, 0, 0, 6, 0, 4, 1, 0, 1, 0x61])),
    "bytes behind the list": made(Buffer.concat([Buffer.from([0, 0]), vector(2, vector(2, Buffer.from([0]), vector(2, Buffer.from("a"))), Buffer.from("x"))])),
    "a zero in the name": made(sni("a.example\0.evil.example")),
    "an empty name": made(sni("")),
    "an extension that is longer than the greeting": made(Buffer.from([0, 0, 0xff, 0xff])),
    "another handshake message": record(Buffer.from([2, 0, 0, 0])),
    "an empty message": record(Buffer.from([1, 0, 0, 0])),
    "an empty record": Buffer.from([0x16, 3, 1, 0, 0]),
    "an alert": Buffer.from([0x15, 3, 1, 0, 2, 2, 0]),
    "SSL 2": Buffer.from([0x80, 0x2e, 1, 3, 1]),
    "a record of no TLS": Buffer.from([0x16, 9]),
    "a message of 16 MiB": record(Buffer.from([1, 0xff, 0xff, 0xff])),
    "another record in between": Buffer.concat([made(name).subarray(0, 5 + 10).with(4, 10), Buffer.from([0x17, 3, 1, 0, 1, 0])]),
  };
  for (const [what, bytes] of Object.entries(broken)) assert.deepEqual(readGreeting(Buffer.from(bytes)), { kind: "Unknown" }, what);
});

test("a greeting is never waited for beyond its bound", () => {
  assert.deepEqual(readGreeting(cut(made(sni("a.example")), 4)), { kind: "Unknown" }, "more records than clients send");
  const long = cut(record(Buffer.concat([Buffer.from([1]), vector(3, Buffer.alloc(MAX_GREETING_BYTES - 10))])), 4000);
  assert.deepEqual(readGreeting(long.subarray(0, MAX_GREETING_BYTES)), { kind: "Unknown" });
});

test("no bytes make the reader throw, wait for ever, or read beyond them", async () => {
  const hello = await helloOf({ servername: "api.example.com" });
  const changed = fc.tuple(fc.nat(hello.length - 1), fc.nat(255), fc.nat(hello.length), fc.nat(400)).map(([at, byte, end, size]) => {
    const copy = Buffer.from(hello);
    copy[at] = byte;
    return size === 0 ? copy.subarray(0, end) : cut(copy, size).subarray(0, end * 2);
  });
  const arbitrary = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const behindHead = arbitrary.map((bytes) => Buffer.concat([Buffer.from([0x16, 3, 1, bytes.length >> 8, bytes.length & 0xff, 1, 0, 0, Math.max(0, bytes.length - 4)]), bytes]));
  fc.assert(
    fc.property(fc.oneof(changed, arbitrary, behindHead), (bytes) => {
      const greeting = readGreeting(bytes);
      if (greeting.kind === "Missing") assert.ok(greeting.atLeast > bytes.length && greeting.atLeast <= MAX_GREETING_BYTES);
      if (greeting.kind === "Tls" && greeting.name !== undefined) assert.match(greeting.name, /^[a-z0-9._-]{1,253}$/);
    }),
    { numRuns: 3000 },
  );
});
