// Constants of what programs in sandboxes may reach (network.ts), without its schemas: the runner loads them at its start.

/** What the proxy assumes where an entry says nothing. */
export const EGRESS_DEFAULTS = { ports: [443], header: "Authorization", format: "Bearer {value}" } as const;
/** Where the credential stands in `inject.format`. */
export const CREDENTIAL_PLACEHOLDER = "{value}";

/**
 * Why the proxy refuses a request; first word of `rule` in egress.decided and a label of metrics.
 * AddressNotAllowed: the name stands for addresses that may not be dialled. NameMismatch: TLS or the request names another host than CONNECT
 * did. Stopped: the session was cancelled, suspended or has ended. Unreachable: allowed, and nobody answered.
 */
export const EGRESS_REFUSALS = [
  "Malformed", "HostNotAllowed", "PortNotAllowed", "MethodNotAllowed", "PathNotAllowed", "AddressNotAllowed", "NameMismatch", "ProtocolNotAllowed",
  "Unresolved", "Unreachable", "CredentialMissing", "TooMany", "Stopped",
] as const;
export type EgressRefusal = (typeof EGRESS_REFUSALS)[number];

/** The refusal that the `rule` of a denial begins with; undefined for anything else. */
export function refusalOf(rule: string): EgressRefusal | undefined {
  const [word] = rule.split(" ", 1);
  return EGRESS_REFUSALS.find((refusal) => refusal === word);
}
