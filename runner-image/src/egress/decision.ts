/** Where a program in the sandbox wants to go. */
export interface EgressTarget {
  readonly host: string;
  readonly port: number;
}

/** The proxy's answer to one request: `status` and a text that the program's user reads. */
export interface EgressVerdict {
  readonly decision: "Deny";
  readonly status: number;
  readonly message: string;
}

/**
 * May a program in the sandbox reach this host? No Environment can name an allowed host in this release, so the answer is no, with the
 * reason. Pure.
 */
export function decideEgress(environment: string, target: EgressTarget | undefined): EgressVerdict {
  if (target === undefined) return { decision: "Deny", status: 400, message: "The request names no host that can be read: use CONNECT host:port, or an absolute http:// URL.\n" };
  const where = `${target.host.includes(":") ? `[${target.host}]` : target.host}:${target.port}`;
  return {
    decision: "Deny",
    status: 403,
    message: `Paddock refused the connection to ${where}: Environment ${environment} allows sandboxes no host. Work without the network: put what is needed into the sandbox's image (spec.sandbox.image of the Environment).\n`,
  };
}

/** The target of a proxied request: `authority` of CONNECT, or the absolute target of a plain one. Undefined when it cannot be read. Pure. */
export function parseTarget(method: string, authority: string, path: string): EgressTarget | undefined {
  const text = method === "CONNECT" ? `https://${authority}` : /^https?:\/\//i.test(path) ? path : `http://${authority}`;
  const url = authority === "" && path === "" ? null : URL.parse(text);
  if (url === null || url.hostname === "") return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { host: host.slice(0, 253), port: url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port) };
}
