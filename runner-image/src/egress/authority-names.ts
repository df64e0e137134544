/** ASN.1 tags: SEQUENCE, the two fields of NameConstraints, and the kinds of names in them (RFC 5280, 4.2.1.6 and 4.2.1.10). */
const SEQUENCE = 0x30;
const PERMITTED = 0xa0;
const EXCLUDED = 0xa1;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** Every IPv4 and every IPv6 address, as address and mask: a constraint on DNS names alone would leave them open. */
const ALL_ADDRESSES = [Buffer.alloc(8), Buffer.alloc(32)];

/**
 * The value of the certificate extension NameConstraints, DER: certificates count only for these hosts and, as the extension has it, names below them,
 * and for no IP address. A wildcard stands for its domain. OpenSSL (curl, Python, Node), GnuTLS (git) and Go hold it. Without any host nothing
 * is permitted. Pure.
 */
export function nameConstraints(hosts: readonly string[]): Uint8Array<ArrayBuffer> {
  const domains = [...new Set(hosts.map((host) => host.replace(/^\*\./, "")))];
  const permitted = (domains.length === 0 ? ["invalid"] : domains).map((domain) => subtree(DNS_NAME, Buffer.from(domain, "latin1")));
  const excluded = ALL_ADDRESSES.map((addresses) => subtree(IP_ADDRESS, addresses));
  return new Uint8Array(element(SEQUENCE, element(PERMITTED, ...permitted), element(EXCLUDED, ...excluded)));
}

function subtree(tag: number, name: Buffer): Buffer {
  return element(SEQUENCE, element(tag, name));
}

/** Tag, length and content; lengths below 65,536, as 64 names of 253 characters have. */
function element(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
