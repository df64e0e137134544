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
  /** Addresses that no sandbox may reach, each as `IP:port`, which probes try besides the usual ones. */
  readonly canaries: readonly string[];
  readonly releaseNamespace: string;
  /** Keys of labels of a Session that its pods get too; of these only propagable ones. */
  readonly propagatedLabels: readonly string[];
  /** Of runner pods too; each of our processes takes the same names. */
  readonly logLevel: string;
}

/** Prefixes and names of labels that never go from a Session to its pods: what the operator goes by, and what GitOps tools find their own objects by. */
const OWN_LABELS = /^([a-z0-9.-]+\.)?paddock\.dev\/|^app\.kubernetes\.io\/(managed-by|instance)$|^([a-z0-9.-]+\.)?(argoproj\.io|fluxcd\.io)\//;

/** Whether a label of this key may go from a Session to its pods. Pure. */
export function isPropagable(key: string): boolean {
  return !OWN_LABELS.test(key);
}
