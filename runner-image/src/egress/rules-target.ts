import type { IncomingHttpHeaders } from "node:http2";
import { isIP } from "node:net";
import { buildDenial, quote } from "./decision.ts";
import type { EgressDenial, EgressTarget } from "./policy.ts";

const LABEL = /^[a-z0-9_-]{1,63}$/;

/**
 * Where a stream wants to go: `:authority` of CONNECT, which has a port, or of an absolute-form request for plain HTTP, whose port is 80
 * unless it has one. Pure.
 */
export function parseTarget(headers: IncomingHttpHeaders): EgressTarget | EgressDenial {
  const { ":method": method, ":scheme": scheme, ":authority": authority = "" } = headers;
  if (method !== "CONNECT" && scheme !== "http") return buildDenial("ProtocolNotAllowed", "Paddock refused a request: the proxy takes CONNECT host:port, and absolute http:// URLs.");
  return parseAuthority(authority, method === "CONNECT" ? undefined : 80) ?? buildDenial("Malformed", `Paddock refused ${quote(authority)}: it names no host and port that can be read. Use CONNECT host:port, or an absolute http:// URL.`);
}

/** `host:port` as one spelling; undefined when it is none, or has no port and `defaultPort` is absent. Pure. */
export function parseAuthority(authority: string, defaultPort?: number): EgressTarget | undefined {
  if (authority.length > 300) return undefined;
  const [, name = "", digits] = /^([^@/?#\\\s]+?)(?::(\d{1,5}))?$/.exec(authority) ?? [];
  const host = parseHost(name);
  const port = digits === undefined ? defaultPort : Number(digits);
  return host === undefined || port === undefined || port < 1 || port > 65535 ? undefined : { host, port };
}

/**
 * A host in the one spelling that rules and TLS know: lower case, punycode, no final dot; addresses in their usual notation, without brackets,
 * however they were written. Undefined when it is none. Pure.
 */
export function parseHost(text: string): string | undefined {
  const url = /^[^@:/?#\\\s]+$|^\[[0-9A-Fa-f:.]+\]$/.test(text) ? URL.parse(`http://${text}`) : null;
  if (url === null) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (isIP(host) !== 0) return host;
  return host.length <= 253 && host.split(".").every((label) => LABEL.test(label)) ? host : undefined;
}
