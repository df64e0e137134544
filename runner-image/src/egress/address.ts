import { BlockList, isIP } from "node:net";

/** A set of addresses. */
export interface Ranges {
  readonly has: (address: string) => boolean;
}

/**
 * Never: loopback, link-local with the metadata services, multicast and the like, in every form that an IPv4 address can take inside an IPv6
 * one; dialled for nobody. Private: not the internet; dialled only for who names it.
 */
export type AddressKind = "Never" | "Private" | "Public";

const NEVER = [
  "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/127", "fe80::/10", "ff00::/8",
  // Metadata services outside the link-local range: Alibaba, Azure, Oracle, AWS and Google over IPv6.
  "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128",
];

/** Whatever the chart says: these are nobody's public addresses. */
const PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "fc00::/7", "fec0::/10"];

const never = readRanges("NEVER", NEVER);
const always = readRanges("PRIVATE", PRIVATE);

/** The set of some CIDRs. Throws a RangeError that names `field` and the value when one of them is none. Pure. */
export function readRanges(field: string, cidrs: readonly string[]): Ranges {
  const lists: Lists = { 4: new BlockList(), 6: new BlockList() };
  for (const cidr of cidrs) addRange(lists, field, cidr);
  return { has: (address) => holds(lists, address) };
}

/** By family: one list would take ::/0 for all of IPv4 too. */
type Lists = Readonly<Record<4 | 6, BlockList>>;

function addRange(lists: Lists, field: string, cidr: string): void {
  const [base = "", length = "", more] = cidr.split("/");
  const family = isIP(base);
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : Infinity;
  if (family === 0 || more !== undefined || base.includes("%") || bits > (family === 4 ? 32 : 128)) {
    throw new RangeError(`${field}: ${JSON.stringify(cidr)} is no CIDR: write one such as 10.20.0.0/16 or fd00:20::/64`);
  }
  if (family === 4) lists[4].addSubnet(base, bits, "ipv4");
  else lists[6].addSubnet(base, bits, "ipv6");
}

function holds(lists: Lists, address: string): boolean {
  const family = isIP(address);
  if (family === 4) return lists[4].check(address, "ipv4");
  // An IPv4 address that is written as a mapped one is found among IPv4 ranges.
  return family === 6 && (lists[6].check(address, "ipv6") || lists[4].check(address, "ipv6"));
}

/** What an address is, in any spelling. `privateRanges` adds to what always is private. Pure. */
export function kindOf(address: string, privateRanges: Ranges): AddressKind {
  // A zone names an interface of this machine.
  if (isIP(address) === 0 || address.includes("%")) return "Never";
  const forms = [address, ...carriedIn(address)];
  if (forms.some(never.has)) return "Never";
  return forms.some((form) => always.has(form) || privateRanges.has(form)) ? "Private" : "Public";
}

/** Forms of IPv6 that hold an IPv4 address: what they start with, the word where the address is, and what is turned in them. */
const CARRIERS: readonly (readonly [start: readonly number[], at: number, turned?: number])[] = [
  [[0x2002], 1], // 6to4, RFC 3056
  [[0x2001, 0], 2], // Teredo, RFC 4380: its server
  [[0x2001, 0], 6, 0xffff], // and its client, with all bits turned
  [[0x64, 0xff9b], 6], // NAT64, RFC 6052 and 8215
  [[0, 0, 0, 0, 0, 0], 6], // compatible, RFC 4291 2.5.5.1
  [[0, 0, 0, 0, 0, 0xffff], 6], // mapped, RFC 4291 2.5.5.2
  [[0, 0, 0, 0, 0xffff, 0], 6], // translated, RFC 2765
];

/** The IPv4 addresses that an IPv6 one stands for somewhere on its way. Pure. */
function carriedIn(address: string): readonly string[] {
  if (isIP(address) !== 6) return [];
  const words = wordsOf(address);
  return CARRIERS.filter(([start]) => start.every((word, place) => words[place] === word)).map(([, at, turned = 0]) => dotted((words[at] ?? 0) ^ turned, (words[at + 1] ?? 0) ^ turned));
}

function wordsOf(address: string): readonly number[] {
  // The parser of URLs writes every spelling the same way, without dots.
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const read = (text: string): readonly number[] => (text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16)));
  const before = read(head);
  const after = tail === undefined ? [] : read(tail);
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
}
