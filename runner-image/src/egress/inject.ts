import { CREDENTIAL_PLACEHOLDER, EGRESS_DEFAULTS } from "@paddock/api/egress";
import type { Credential } from "@paddock/api/network";
import type { EgressRequest, InjectedHeader } from "./policy.ts";
import { isCovered } from "./rules.ts";
import { findAmbiguity, isBelow } from "./rules-path.ts";

/** Whether some credential names this host: then its answers are masked. Pure. */
export function hasCredential(credentials: readonly Credential[], host: string): boolean {
  return credentials.some(({ hosts }) => hosts.some((pattern) => isCovered(pattern, host)));
}

/** The credentials that a request gets, none where its path could be read in two ways and paths are named: those whose host, methods and paths match; of several for one header the first. Pure. */
export function matchCredentials(credentials: readonly Credential[], host: string, request: EgressRequest): readonly Credential[] {
  const headers = new Set<string>();
  return credentials.filter((credential) => {
    const header = headerOf(credential).toLowerCase();
    if (headers.has(header) || !isMatched(credential, host, request)) return false;
    headers.add(header);
    return true;
  });
}

function isMatched({ hosts, methods, paths }: Credential, host: string, { method, path }: EgressRequest): boolean {
  return (
    hosts.some((pattern) => isCovered(pattern, host)) &&
    (methods === undefined || methods.includes(method)) &&
    (paths === undefined || (findAmbiguity(path) === undefined && paths.some((above) => isBelow(above, path))))
  );
}

/** The header that a credential with this value becomes. Pure. */
export function injectedHeader(credential: Credential, value: string): InjectedHeader {
  const { inject } = credential;
  const username = inject?.basicUsername;
  const text = username === undefined ? fill(inject?.format ?? EGRESS_DEFAULTS.format, value) : `Basic ${basicPair(username, value)}`;
  return { name: credential.name, header: headerOf(credential), value: text };
}

/** What HTTP basic authentication makes of user name and password, without the scheme. Pure. */
export function basicPair(username: string, value: string): string {
  return Buffer.from(`${username}:${value}`).toString("base64");
}

function headerOf({ inject }: Credential): string {
  return inject?.header ?? EGRESS_DEFAULTS.header;
}

/** Cut, not replaced: `$&` in a value stands for itself. */
function fill(format: string, value: string): string {
  return format.split(CREDENTIAL_PLACEHOLDER).join(value);
}
