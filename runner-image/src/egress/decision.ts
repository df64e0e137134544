import { isIP } from "node:net";
import type { EgressRefusal } from "@paddock/api/egress";
import { kindOf } from "./address.ts";
import { findAmbiguity, isBelow } from "./rules-path.ts";
import type { EgressConnection, EgressDenial, EgressGrant, EgressRequest, EgressTarget, RequestGrant } from "./policy.ts";
import { isCovered, isServiceName } from "./rules.ts";
import type { EgressEntry, EgressPolicy } from "./rules.ts";

const STATUS: Record<EgressRefusal, number> = {
  Malformed: 400, HostNotAllowed: 403, PortNotAllowed: 403, MethodNotAllowed: 403, PathNotAllowed: 403, AddressNotAllowed: 403, NameMismatch: 421, ProtocolNotAllowed: 403,
  Unresolved: 502, Unreachable: 502, CredentialMissing: 503, TooMany: 503, Stopped: 503,
};

/** A refusal with the status that belongs to it. `message`: whole sentences for the program's user. Pure. */
export function buildDenial(refusal: EgressRefusal, message: string): EgressDenial {
  return { refusal, status: STATUS[refusal], message };
}

/** `host:port`, as people write it. Pure. */
export function whereOf({ host, port }: EgressTarget): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Any header value or name of a sandbox's as part of a sentence: printable and short. Pure. */
export function quote(text: string): string {
  const short = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return JSON.stringify(short.replace(/[^ -~…]/g, "?"));
}

/** Of what this folder hands out, only a denial has a refusal. Pure. */
export function isDenial(value: object): value is EgressDenial {
  return "refusal" in value;
}

/** May a program connect there? Pure. */
export function decideConnection(policy: EgressPolicy, target: EgressTarget): EgressGrant | EgressDenial {
  const { host, port } = target;
  if (isIP(host) !== 0) return buildDenial("HostNotAllowed", `Paddock refused ${whereOf(target)}: sandboxes reach hosts by name, never by address. Use the host's name; Environment ${policy.environment} lists the names that are allowed.`);
  const ofHost = policy.entries.map((_, place) => place).filter((place) => isCovered(entryAt(policy, place).host, host));
  const [first] = ofHost;
  if (first === undefined) return refuseHost(policy, target);
  const entries = ofHost.filter((place) => entryAt(policy, place).ports.includes(port));
  const [rule] = entries;
  if (rule === undefined) return refusePort(policy, target, ofHost);
  return { kind: isInspected(policy, host, entries) ? "Terminate" : "Tunnel", rule: entryAt(policy, rule).name, entries };
}

/** The entries of a grant are places in the same policy. */
function entryAt(policy: EgressPolicy, place: number): EgressEntry {
  const entry = policy.entries[place];
  if (entry === undefined) throw new TypeError(`the Environment has no network.allowedHosts[${place}]`);
  return entry;
}

function isInspected(policy: EgressPolicy, host: string, entries: readonly number[]): boolean {
  const hasRules = ({ methods, paths }: EgressEntry): boolean => methods !== undefined || paths !== undefined;
  return entries.some((place) => hasRules(entryAt(policy, place))) || policy.credentialHosts.some((pattern) => isCovered(pattern, host));
}

function refuseHost({ environment, entries }: EgressPolicy, target: EgressTarget): EgressDenial {
  const port = target.port === 443 ? "" : `, ports: [${target.port}]`;
  const why = entries.length === 0 ? `Environment ${environment} allows sandboxes no host` : `Environment ${environment} does not list it`;
  return buildDenial("HostNotAllowed", `Paddock refused ${whereOf(target)}: ${why}. To allow it, add {host: ${target.host}${port}} to spec.network.allowedHosts of Environment ${environment} (its owner: the platform team).`);
}

function refusePort(policy: EgressPolicy, target: EgressTarget, places: readonly number[]): EgressDenial {
  const ports = [...new Set(places.flatMap((place) => entryAt(policy, place).ports))];
  const first = entryAt(policy, places[0] ?? 0);
  const wanted = [...first.ports, target.port].join(", ");
  const { environment } = policy;
  return buildDenial("PortNotAllowed", `Paddock refused ${whereOf(target)}: Environment ${environment} allows this host on ${ports.length === 1 ? "port" : "ports"} ${ports.join(", ")} only. To allow it, set spec.${first.name}.ports of Environment ${environment} to [${wanted}] (its owner: the platform team).`);
}

/** May this request go where the connection goes? Every entry that allows it counts for the addresses that are dialled for it. Pure. */
export function decideRequest(policy: EgressPolicy, { target, grant }: Pick<EgressConnection, "target" | "grant">, { method, path }: EgressRequest): RequestGrant | EgressDenial {
  const withMethod = grant.entries.filter((place) => entryAt(policy, place).methods?.includes(method) ?? true);
  const [first] = withMethod;
  if (first === undefined) return refuseMethod(policy, { target, grant }, method);
  const ambiguity = findAmbiguity(path);
  const entries = withMethod.filter((place) => isPathAllowed(entryAt(policy, place), path, ambiguity));
  const [rule] = entries;
  if (rule !== undefined) return { rule: entryAt(policy, rule).name, entries };
  const { environment } = policy;
  const where = `${method} ${quote(path.split("?", 1)[0] ?? "")} of ${whereOf(target)}`;
  if (ambiguity !== undefined) return buildDenial("PathNotAllowed", `Paddock refused ${where}: the path ${ambiguity}, which servers read in different ways. Environment ${environment} has rules for paths of this host, so write the path plainly.`);
  const { name } = entryAt(policy, first);
  return buildDenial("PathNotAllowed", `Paddock refused ${where}: Environment ${environment} allows ${pathsOf(policy, withMethod)} only. To allow it, add the path or one above it to spec.${name}.paths of Environment ${environment} (its owner: the platform team).`);
}

function isPathAllowed({ paths }: EgressEntry, path: string, ambiguity: string | undefined): boolean {
  return paths === undefined || (ambiguity === undefined && paths.some((above) => isBelow(above, path)));
}

function pathsOf(policy: EgressPolicy, places: readonly number[]): string {
  const paths = [...new Set(places.flatMap((place) => entryAt(policy, place).paths ?? []))];
  return `${paths.length === 1 ? "the path" : "the paths"} ${paths.slice(0, 8).join(", ")}${paths.length > 8 ? ", …" : ""}`;
}

function refuseMethod(policy: EgressPolicy, { target, grant }: Pick<EgressConnection, "target" | "grant">, method: string): EgressDenial {
  const methods = [...new Set(grant.entries.flatMap((place) => entryAt(policy, place).methods ?? []))];
  const { environment } = policy;
  return buildDenial("MethodNotAllowed", `Paddock refused ${quote(method)} of ${whereOf(target)}: Environment ${environment} allows ${methods.join(", ")} only. To allow it, add the method to spec.${grant.rule}.methods of Environment ${environment} (its owner: the platform team).`);
}

/** May this address be dialled for this host? `entries`: those that allow what is asked. Pure. */
export function decideAddress(policy: EgressPolicy, entries: readonly number[], host: string, address: string): boolean {
  const kind = kindOf(address, policy.privateRanges);
  if (kind !== "Private") return kind === "Public";
  return isServiceName(host) || entries.some((place) => entryAt(policy, place).addresses.has(address));
}
