import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { explainAddresses } from "./addresses.ts";

const NETWORKS = ["10.0.0.0/8", "10.20.0.0/16", "172.16.0.0/12", "192.168.1.7/32", "100.64.0.0/10", "203.0.113.0/24", "fd00::/8", "fd00:20::/64", "2001:db8::7/128", "FD00:20::/64", "64:ff9b:1::/48"];

const FAULTS: readonly (readonly [cidr: string, says: RegExp])[] = [
  ["", /is no CIDR: write a CIDR such as 10\.20\.0\.0\/16/],
  ["10.20.0.0", /is no CIDR/],
  ["10.20.0.0/", /is no CIDR/],
  ["10.20.0/16", /is no CIDR/],
  ["300.0.0.0/8", /is no CIDR/],
  ["010.0.0.0/8", /is no CIDR/],
  ["fd00:::/8", /is no CIDR/],
  ["fe80::1%eth0/128", /is no CIDR/],
  ["git.example.com/24", /is no CIDR/],
  ["10.0.0.0/8/8", /is no CIDR/],
  ["x".repeat(5000), /^x{64}… is no CIDR/],
  ["10.0.0.0/08", /is no CIDR/],
  ["10.0.0.0/33", /prefix of more than 32 bits/],
  ["fd00::/129", /prefix of more than 128 bits/],
  ["10.20.1.1/16", /bits beyond its prefix: write 10\.20\.0\.0\/16$/],
  ["10.20.255.255/0", /write 0\.0\.0\.0\/0$/],
  ["fd00:20::1/64", /write fd00:20::\/64$/],
  ["fd00:20::10.0.0.1/96", /write fd00:20::\/96$/],
  ["::ffff:10.0.0.0/104", /IPv4 written as IPv6: write the IPv4 network/],
  ["::ffff:127.0.0.1/128", /IPv4 written as IPv6/],
  ["0.0.0.0/0", /holds unspecified addresses \(0\.0\.0\.0\/8\).*write a network without them/],
  ["0.0.0.0/32", /unspecified/],
  ["127.0.0.0/8", /loopback/],
  ["127.0.0.53/32", /loopback/],
  ["64.0.0.0/2", /loopback/],
  ["169.254.169.254/32", /link-local addresses, with the metadata services/],
  ["168.0.0.0/6", /link-local/],
  ["224.0.0.0/4", /multicast/],
  ["255.255.255.255/32", /reserved/],
  ["128.0.0.0/1", /link-local/],
  ["::/0", /the unspecified and the loopback address/],
  ["::1/128", /loopback/],
  ["fe80::/64", /link-local/],
  ["ff02::1/128", /multicast/],
  ["8000::/1", /link-local/],
  ["100.100.100.200/32", /metadata service/],
  ["fd00:ec2::254/128", /metadata service/],
];

describe("networks of an entry's addresses", () => {
  for (const cidr of NETWORKS) it(`may be ${cidr}`, () => assert.equal(explainAddresses(cidr), undefined));
  for (const [cidr, says] of FAULTS) it(`may not be ${cidr.slice(0, 64)}`, () => assert.match(explainAddresses(cidr) ?? "nothing", says));
});
