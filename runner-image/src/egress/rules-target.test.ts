import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { parseAuthority, parseHost, parseTarget } from "./rules-target.ts";

test("hosts have one spelling", () => {
  const spellings: Record<string, string> = {
    "Example.COM": "example.com", "example.com.": "example.com", "bücher.example": "xn--bcher-kva.example", "ＥＸＡＭＰＬＥ.com": "example.com", "%65xample.com": "example.com", "my_bucket.s3.example": "my_bucket.s3.example",
    "127.0.0.1": "127.0.0.1", "0x7f.1": "127.0.0.1", "2130706433": "127.0.0.1", "0177.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "127.0.0.1.": "127.0.0.1", "①②⑦.0.0.1": "127.0.0.1",
    "[::1]": "::1", "[::FFFF:127.0.0.1]": "::ffff:7f00:1", "[0:0:0:0:0:0:0:1]": "::1",
  };
  for (const [text, host] of Object.entries(spellings)) assert.equal(parseHost(text), host, text);
});

test("what is no host is none", () => {
  for (const text of ["", ".", "a..b", "..", "a b", "a/b", "a\\b", "a?b", "a#b", "u@h", "::1", "[::1", "[::1]x", "[fe80::1%25eth0]", "a%2fb", "a%00b", "256.256.256.256", "1.2.3.4.5", `${"a".repeat(64)}.example`, `${"a.".repeat(130)}example`, "a\u00adb\n"]) {
    assert.equal(parseHost(text), undefined, JSON.stringify(text));
  }
});

test("CONNECT names host and port, a plain request may leave the port out", () => {
  assert.deepEqual(parseAuthority("Example.com:8443"), { host: "example.com", port: 8443 });
  assert.deepEqual(parseAuthority("[2001:db8::1]:443"), { host: "2001:db8::1", port: 443 });
  assert.equal(parseAuthority("example.com"), undefined);
  assert.deepEqual(parseAuthority("example.com", 80), { host: "example.com", port: 80 });
  for (const authority of ["", ":443", "example.com:", "example.com:0", "example.com:65536", "example.com:443:443", "example.com:-1", "example.com:4 3", "a@b:443", "https://b:443", "b:443/x", `${"a".repeat(400)}:443`]) assert.equal(parseAuthority(authority), undefined, authority);
});

test("streams say where they go, and what is neither CONNECT nor plain HTTP is refused", () => {
  assert.deepEqual(parseTarget({ ":method": "CONNECT", ":authority": "a.example:443" }), { host: "a.example", port: 443 });
  assert.deepEqual(parseTarget({ ":method": "GET", ":scheme": "http", ":authority": "a.example", ":path": "/" }), { host: "a.example", port: 80 });
  assert.partialDeepStrictEqual(parseTarget({ ":method": "CONNECT" }), { refusal: "Malformed", status: 400 });
  assert.partialDeepStrictEqual(parseTarget({}), { refusal: "ProtocolNotAllowed", status: 403 });
  assert.partialDeepStrictEqual(parseTarget({ ":method": "GET", ":scheme": "https", ":authority": "a.example" }), { refusal: "ProtocolNotAllowed", status: 403 });
  const strange = parseTarget({ ":method": "CONNECT", ":authority": `\u001b[31m"${"x".repeat(5000)}` });
  assert.ok("message" in strange && strange.message.length < 400 && /^[ -~…]*$/.test(strange.message));
});

test("every host that is read is an address or a name in lower case that reads the same again", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.domain(), fc.ipV4Extended(), fc.ipV6().map((text) => `[${text}]`), fc.string({ unit: "binary" })), (text) => {
      const host = parseHost(text);
      if (host === undefined) return;
      assert.ok(isIP(host) !== 0 || /^[a-z0-9_.-]+$/.test(host), host);
      assert.equal(parseHost(isIP(host) === 6 ? `[${host}]` : host), host);
    }),
  );
});
