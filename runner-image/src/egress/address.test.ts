import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { kindOf, readRanges } from "./address.ts";
import type { AddressKind } from "./address.ts";

const none = readRanges("none", []);
const kind = (address: string): AddressKind => kindOf(address, none);

test("what answers for the machine itself or hands out its credentials is never dialled, in any form", () => {
  const never = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "::", "::1", "0:0:0:0:0:0:0:1", "fe80::1", "fe80::1%eth0", "febf::1", "ff02::1", "fd00:ec2::254", "FD00:EC2:0:0::254", "fd20:ce::254",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::169.254.169.254", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::", "2001:0:0808:0808:0:0:5601:5601",
    "2606:4700::1%eth0",
  ];
  for (const address of never) assert.equal(kind(address), "Never", address);
});

test("private addresses are no public ones, in any form", () => {
  const all = ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.0.8", "fc00::1", "fd12:3456::1", "fec0::1", "::ffff:10.0.0.1", "::10.1.2.3", "64:ff9b::10.0.0.1", "2002:c0a8:101::", "2001:0:a00:1:0:0:f7f7:f7f7", "2001:0:808:808:0:0:f5ff:fffe"];
  for (const address of all) assert.equal(kind(address), "Private", address);
});

test("the internet is public, beside each range's edges", () => {
  const all = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"];
  for (const address of all) assert.equal(kind(address), "Public", address);
});

test("what the chart names is private too, and cannot make public what never is", () => {
  const ranges = readRanges("privateRanges", ["203.0.113.0/24", "2001:db8:77::/48", "0.0.0.0/0"]);
  assert.equal(kindOf("203.0.113.9", ranges), "Private");
  assert.equal(kindOf("2001:db8:77::9", ranges), "Private");
  assert.equal(kindOf("127.0.0.1", ranges), "Never");
  assert.equal(kindOf("64:ff9b::203.0.113.9", readRanges("privateRanges", ["203.0.113.0/24"])), "Private");
});

test("ranges of one family say nothing about the other", () => {
  assert.ok(!readRanges("x", ["::/0"]).has("10.0.0.1"));
  assert.ok(!readRanges("x", ["0.0.0.0/0"]).has("2606:4700::1"));
  assert.ok(readRanges("x", ["10.0.0.0/8"]).has("::ffff:10.0.0.1"));
});

test("what is no address is never dialled", () => {
  for (const text of ["", "localhost", "1.2.3", "0x7f.1", "2130706433", "010.0.0.1", "1.2.3.4.5", "[::1]", "1.1.1.1 ", "::g"]) assert.equal(kind(text), "Never", text);
});

test("a range that is none is refused by its field and value", () => {
  for (const cidr of ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "fe80::%eth0/64", "x/8", "10.0.0.0/8/8", "10.0.0.0/-1", ""]) {
    assert.throws(() => readRanges("network.allowedHosts[1].addresses", [cidr]), (error) => error instanceof RangeError && error.message.includes("network.allowedHosts[1].addresses") && error.message.includes(JSON.stringify(cidr)), cidr);
  }
});

const octets = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 });
const v4 = octets.map((all) => all.join("."));
const word = (high: number | undefined, low: number | undefined): string => (((high ?? 0) << 8) | (low ?? 0)).toString(16);
const SEVERITY: readonly AddressKind[] = ["Public", "Private", "Never"];

test("an IPv4 address inside an IPv6 one is at least as closed as by itself", () => {
  fc.assert(
    fc.property(octets, ([a, b, c, d]) => {
      const address = [a, b, c, d].join(".");
      const own = SEVERITY.indexOf(kind(address));
      const [high, low] = [word(a, b), word(c, d)];
      for (const form of [`::ffff:${address}`, `::ffff:${high}:${low}`, `::${address}`, `64:ff9b::${address}`, `2002:${high}:${low}::1`, `2001:0:${high}:${low}::`, `::ffff:0:${address}`]) {
        assert.ok(SEVERITY.indexOf(kind(form)) >= own, form);
      }
    }),
  );
});

test("all spellings of an IPv6 address are one address", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }), fc.constantFrom(0, 0x2002, 0x64, 0xfe80, 0xfd00, 0x2606), (words, first) => {
      const all = [first, ...words.slice(1)];
      const long = all.map((each) => each.toString(16).padStart(4, "0")).join(":");
      const short = new URL(`http://[${long}]`).hostname.slice(1, -1);
      assert.equal(kind(long), kind(short));
      assert.equal(kind(long.toUpperCase()), kind(short));
    }),
  );
});

test("no text is too strange to be classified", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), v4, fc.ipV6(), fc.ipV6().map((address) => `${address}%x`)), (text) => SEVERITY.includes(kind(text))));
});
