/** A NetworkPolicy peer as the API server takes it. */
export interface NetworkPolicyPeer {
  readonly namespaceSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly podSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

/**
 * The release's own values that builders need. A plain value: kinds take a getter `() => Settings`, call it in `observe` and carry the
 * result in their world, so that `decide` stays pure.
 */
export interface Settings {
  readonly runnerImage: string;
  readonly sandboxImage: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly gatewayUrl: string;
  /** PEM of the gateway's CA. Empty until the gateway has published it; the source `records` is not synced before that. */
  readonly gatewayCa: string;
  /** Where runners may ask for names, port 53. */
  readonly dnsPeers: readonly NetworkPolicyPeer[];
  /** CIDRs that runners never reach: private, link-local, CGNAT, metadata, cluster and node ranges. */
  readonly privateRanges: readonly string[];
  readonly releaseNamespace: string;
  /** Of runner pods too; each of our processes takes the same names. */
  readonly logLevel: string;
}
