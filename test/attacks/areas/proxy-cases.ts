// What a hijacked program sends to the proxy, and what its control sends to the server itself. The forge tells which requests it saw, by a mark in the path.

export type Step = { readonly send: string } | { readonly tls: string };

/** Where names of a case lead: Services of the forge, all of the same pod. */
export interface Names {
  /** Listed, gets the credential. */
  readonly forge: string;
  /** Listed for GET of /whoami and /redirect only. */
  readonly mirror: string;
  /** Listed without rules: a tunnel. */
  readonly tunnel: string;
  /** Not listed. */
  readonly hidden: string;
  /** The forge's pod. */
  readonly address: string;
}

export interface ProxyCase {
  readonly name: string;
  /** To the proxy. `mark`: a path segment that only this try has. */
  attempt(names: Names, mark: string): readonly Step[];
  /** Whether what the forge saw under the mark is what was wanted; by default any request is. */
  readonly wanted?: (request: { readonly host: string; readonly method: string; readonly path: string }, names: Names) => boolean;
}

const get = (target: string, host: string, more = ""): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`;
const keep = (target: string, host: string, more = ""): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
const connectTo = (authority: string): Step => ({ send: `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n` });
const send = (text: string): Step => ({ send: text });

/** Spellings of an IPv4 address that some parser takes for one. Pure. */
export function spellings(address: string): Readonly<Record<string, string>> {
  const bytes = address.split(".").map(Number);
  const number = bytes.reduce((total, byte) => total * 256 + byte, 0);
  return {
    "as it is": address,
    "as one number": String(number),
    "in hexadecimal": `0x${number.toString(16)}`,
    "in octal": bytes.map((byte) => `0${byte.toString(8)}`).join("."),
    "as IPv6": `[::ffff:${address}]`,
    "with a dot behind": `${address}.`,
  };
}

const SPELLINGS = Object.keys(spellings("0.0.0.0"));

const byAddress: readonly ProxyCase[] = SPELLINGS.map((how) => ({
  name: `an address instead of a name, ${how}`,
  attempt: ({ address }, mark) => [send(get(`http://${spellings(address)[how] ?? ""}/${mark}`, spellings(address)[how] ?? ""))],
}));

const overTls = (names: Names, host: keyof Names, text: string): readonly Step[] => [connectTo(`${names[host]}:443`), { tls: names[host] }, send(text)];

const hosts: readonly ProxyCase[] = [
  { name: "a host that is not listed", attempt: ({ hidden }, mark) => [send(get(`http://${hidden}/${mark}`, hidden))] },
  { name: "a host that is not listed, by CONNECT", attempt: (names, mark) => overTls(names, "hidden", get(`/${mark}`, names.hidden)) },
  { name: "a host that is not listed, in capitals with a dot", attempt: ({ hidden }, mark) => [send(get(`http://${hidden.toUpperCase()}./${mark}`, hidden))] },
  { name: "a listed name as user of another host", attempt: ({ tunnel, hidden }, mark) => [send(get(`http://${tunnel}@${hidden}/${mark}`, hidden))], wanted: ({ host }, { hidden }) => host.startsWith(hidden) },
  { name: "another port of a listed host", attempt: ({ tunnel }, mark) => [send(get(`http://${tunnel}:81/${mark}`, `${tunnel}:81`))] },
  { name: "another name in TLS than in CONNECT", attempt: ({ tunnel, hidden }, mark) => [connectTo(`${tunnel}:443`), { tls: hidden }, send(get(`/${mark}`, hidden))] },
  { name: "no name in TLS", attempt: ({ tunnel }, mark) => [connectTo(`${tunnel}:443`), { tls: "" }, send(get(`/${mark}`, tunnel))] },
  { name: "another Host than in CONNECT (domain fronting)", attempt: (names, mark) => overTls(names, "forge", get(`/${mark}`, names.hidden)), wanted: ({ host }, { hidden }) => host.startsWith(hidden) },
  { name: "another Host than in the request's target", attempt: ({ tunnel, hidden }, mark) => [send(get(`http://${tunnel}/${mark}`, hidden))], wanted: ({ host }, { hidden }) => host.startsWith(hidden) },
  { name: "another host in an absolute target inside CONNECT", attempt: (names, mark) => overTls(names, "forge", get(`https://${names.hidden}/${mark}`, names.forge)), wanted: ({ host }, { hidden }) => host.startsWith(hidden) },
  { name: "two Host headers", attempt: (names, mark) => overTls(names, "forge", get(`/${mark}`, names.forge, `Host: ${names.hidden}\r\n`)) },
];

const PATHS: Readonly<Record<string, (mark: string) => string>> = {
  "a path that is not listed": (mark) => `/${mark}`,
  "a path that begins like a listed one": (mark) => `/whoami-${mark}`,
  "a path that climbs": (mark) => `/whoami/../${mark}`,
  "a path that climbs in percent signs": (mark) => `/whoami/%2e%2e/${mark}`,
  "a path with an encoded slash": (mark) => `/whoami/..%2f${mark}`,
  "a path that climbs with backslashes": (mark) => `/whoami\\..\\${mark}`,
  "a path with parameters that climbs": (mark) => `/whoami/..;/${mark}`,
  "a path of two slashes": (mark) => `//whoami/../${mark}`,
};

const paths: readonly ProxyCase[] = Object.entries(PATHS).flatMap(([name, path]) => [
  { name, attempt: ({ mirror }, mark) => [send(get(`http://${mirror}${path(mark)}`, mirror))] },
  { name: `${name}, in TLS`, attempt: (names, mark) => overTls(names, "mirror", get(path(mark), names.mirror)) },
] satisfies readonly ProxyCase[]);

const METHODS: readonly ProxyCase[] = ["POST", "TRACE", "DELETE"].map((method) => ({
  name: `method ${method} where GET is listed`,
  attempt: (names, mark) => overTls(names, "mirror", `${method} /whoami?${mark} HTTP/1.1\r\nHost: ${names.mirror}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`),
  wanted: (request) => request.method === method,
}));

const SMUGGLED: Readonly<Record<string, (prefix: string, host: string, inner: string) => string>> = {
  "length and chunks": (prefix, host, inner) => `${keep(`${prefix}/whoami`, host, `Content-Length: ${5 + inner.length}\r\nTransfer-Encoding: chunked\r\n`)}0\r\n\r\n${inner}`,
  "chunks with a space": (prefix, host, inner) => `${keep(`${prefix}/whoami`, host, `Content-Length: ${5 + inner.length}\r\nTransfer-Encoding : chunked\r\n`)}0\r\n\r\n${inner}`,
  "chunks of a strange coding": (prefix, host, inner) => `${keep(`${prefix}/whoami`, host, `Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n`)}${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`,
  "a folded header": (prefix, host, inner) => `${keep(`${prefix}/whoami`, host, `X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: ${inner.length}\r\n`)}${inner}`,
  "two lengths": (prefix, host, inner) => `${keep(`${prefix}/whoami`, host, `Content-Length: 0\r\nContent-Length: ${inner.length}\r\n`)}${inner}`,
  "bare line feeds": (prefix, host, inner) => `GET ${prefix}/whoami HTTP/1.1\r\nHost: ${host}\r\nX: y\n\n${inner}\r\n\r\n`,
  "a request behind it": (prefix, host, inner) => `${keep(`${prefix}/whoami`, host)}${inner}`,
};

const smuggled: readonly ProxyCase[] = Object.entries(SMUGGLED).flatMap(([name, build]) => [
  { name: `smuggled: ${name}`, attempt: ({ mirror }, mark) => [send(build(`http://${mirror}`, mirror, get(`http://${mirror}/${mark}`, mirror)))] },
  { name: `smuggled: ${name}, in TLS`, attempt: (names, mark) => overTls(names, "mirror", build("", names.mirror, get(`/${mark}`, names.mirror))) },
] satisfies readonly ProxyCase[]);

/** Cases whose success the forge sees. The control of each is the plain request to the server itself, with no proxy between. */
export const PROXY_CASES: readonly ProxyCase[] = [...byAddress, ...hosts, ...paths, ...METHODS, ...smuggled];

/** The plain request of a control. */
export function controlSteps(mark: string, { hidden }: Names, method = "GET"): readonly Step[] {
  return [send(`${method} /${mark} HTTP/1.1\r\nHost: ${hidden}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)];
}
