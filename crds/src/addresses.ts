import { isIP, isIPv4 } from "node:net";
import { celString } from "./text.ts";

// Networks that an Environment names by CIDR: what is one, and which ones runners connect to for nobody. The API server refuses the rest by
// rules made from the same list; `explainAddresses` says the same to whoever meets such a value later.

export const CIDR_PATTERN = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}/(0|[1-9][0-9]?)|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*/(0|[1-9][0-9]{0,2}))$";
export const CIDR_HINT = "write a CIDR such as 10.20.0.0/16 or fd00:20::/64";

/** Addresses that no entry may hold; of a single one only the entry that is nothing else. */
const NOBODYS: readonly { readonly cidr: string; readonly what: string }[] = [
  { cidr: "0.0.0.0/8", what: "unspecified addresses" },
  { cidr: "127.0.0.0/8", what: "loopback addresses" },
  { cidr: "169.254.0.0/16", what: "link-local addresses, with the metadata services of clouds" },
  { cidr: "224.0.0.0/3", what: "multicast and reserved addresses" },
  { cidr: "::/127", what: "the unspecified and the loopback address" },
  { cidr: "fe80::/10", what: "link-local addresses" },
  { cidr: "ff00::/8", what: "multicast addresses" },
  { cidr: "100.100.100.200/32", what: "the metadata service of a cloud" },
  { cidr: "fd00:ec2::254/128", what: "the metadata service of a cloud" },
];
const SINGLE = /\/(32|128)$/;

const list = (cidrs: readonly { readonly cidr: string }[]): string => `[${cidrs.map(({ cidr }) => celString(cidr)).join(", ")}]`;
const RANGES = NOBODYS.filter(({ cidr }) => !SINGLE.test(cidr));

/** For a field of CIDR_PATTERN: what a pattern cannot say. Each rule leaves to the one before what that refuses. */
export const CIDR_RULES = [
  {
    rule: `!self.matches(${celString(CIDR_PATTERN)}) || isCIDR(self)`,
    message: "write numbers that addresses have, 0 to 255 without leading zeros, a prefix of at most 32 (IPv6: 128), and IPv4 networks as such, e.g. 10.20.0.0/16 or fd00:20::/64",
  },
  {
    rule: "!isCIDR(self) || cidr(self) == cidr(self).masked()",
    message: "write the network itself: its first address, e.g. 10.20.0.0/16 and not 10.20.1.1/16",
  },
  {
    rule: `!isCIDR(self) || !(${list(RANGES)}.exists(range, cidr(range).containsCIDR(self) || cidr(self).containsCIDR(range)) || self in ${list(NOBODYS.filter(({ cidr }) => SINGLE.test(cidr)))})`,
    message: "write a network without loopback, link-local, multicast, reserved and unspecified addresses and without metadata services: nobody's requests go there",
  },
];

interface Range {
  readonly bits: 32 | 128;
  readonly value: bigint;
  readonly prefix: number;
}

/** Why a text is no network that `addresses` may hold, in a sentence with the fix; undefined when it is one. Pure; any text. */
export function explainAddresses(cidr: string): string | undefined {
  const shown = cidr.length > 64 ? `${cidr.slice(0, 64)}…` : cidr;
  const [address = "", prefix = ""] = cidr.split("/");
  if (!new RegExp(CIDR_PATTERN).test(cidr) || isIP(address) === 0) return `${shown} is no CIDR: ${CIDR_HINT}`;
  const range = parse(address, Number(prefix));
  if (range.prefix > range.bits) return `${shown} has a prefix of more than ${range.bits} bits: ${CIDR_HINT}`;
  if (isMapped(range)) return `${shown} is IPv4 written as IPv6: write the IPv4 network, e.g. 10.20.0.0/16`;
  const network = masked(range);
  if (network.value !== range.value) return `${shown} is no network, for it has bits beyond its prefix: write ${format(network)}`;
  const nobodys = NOBODYS.find((forbidden) => holds(range, forbidden.cidr));
  if (nobodys === undefined) return undefined;
  return `${shown} holds ${nobodys.what} (${nobodys.cidr}), to which nobody's requests go: write a network without them`;
}

function holds(range: Range, cidr: string): boolean {
  const [address = "", prefix = ""] = cidr.split("/");
  const other = parse(address, Number(prefix));
  if (range.bits !== other.bits || (SINGLE.test(cidr) && range.prefix !== other.prefix)) return false;
  const rest = BigInt(range.bits - Math.min(range.prefix, other.prefix));
  return range.value >> rest === other.value >> rest;
}

/** ::ffff:0:0/96, where IPv4 addresses have a second spelling. */
function isMapped({ bits, value }: Range): boolean {
  return bits === 128 && value >> 32n === 0xffffn;
}

function masked({ bits, value, prefix }: Range): Range {
  const rest = BigInt(bits - prefix);
  return { bits, prefix, value: (value >> rest) << rest };
}

function parse(address: string, prefix: number): Range {
  if (isIPv4(address)) return { bits: 32, prefix, value: join(address.split(".").map(Number), 8n) };
  return { bits: 128, prefix, value: join(groupsOf(address).map((group) => Number.parseInt(group, 16)), 16n) };
}

/** The eight groups of an IPv6 address, which may hold `::` and end as an IPv4 address. */
function groupsOf(address: string): readonly string[] {
  // What URLs make of it is the shortest form, in hexadecimal.
  const [before = "", after] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::");
  const [head, tail] = [before, after ?? ""].map((text) => text.split(":").filter((group) => group !== ""));
  const missing = 8 - (head?.length ?? 0) - (tail?.length ?? 0);
  return [...(head ?? []), ...Array<string>(missing).fill("0"), ...(tail ?? [])];
}

function join(parts: readonly number[], width: bigint): bigint {
  return parts.reduce((value, part) => (value << width) | BigInt(part), 0n);
}

function format({ bits, value, prefix }: Range): string {
  const [count, width] = bits === 32 ? [4, 8n] : [8, 16n];
  const parts = Array.from({ length: count }, (_, index) => (value >> (BigInt(count - 1 - index) * width)) & ((1n << width) - 1n));
  if (bits === 32) return `${parts.join(".")}/${prefix}`;
  return `${new URL(`http://[${parts.map((part) => part.toString(16)).join(":")}]/`).hostname.slice(1, -1)}/${prefix}`;
}
