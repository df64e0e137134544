import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OPERATOR_NAME } from "@paddock/api/names";
import { apply, eventually } from "./lab.ts";
import { type Output, kubectl, must } from "./kubectl.ts";
import { tokenOf } from "./people.ts";

// Callers other than the administrator: people with certificates of their own, signed by the cluster, and service accounts with their tokens.

const RELEASE_NAMESPACE = "paddock-system";

/** Somebody who talks to the API server as nobody else. */
export interface Identity {
  /** User name as the API server knows it. */
  readonly name: string;
  readonly kubeconfig: string;
  /** kubectl as this identity. Never throws on a non-zero exit. */
  kubectl(args: readonly string[], input?: object): Promise<Output>;
  /** Applies or changes; throws with what the API server said. */
  must(args: readonly string[], input?: object): Promise<string>;
  /** What the API server said when it refused; throws when it did not. */
  refusal(args: readonly string[], input?: object): Promise<string>;
}

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const folder = mkdtempSync(join(tmpdir(), "paddock-identities-"));
const requests: string[] = [];
// Not a hook of a test: programs that are no test use these identities as well.
process.once("exit", () => {
  rmSync(folder, { recursive: true, force: true });
});
process.once("beforeExit", () => {
  if (requests.length > 0) void kubectl(["delete", "certificatesigningrequests", ...requests, "--ignore-not-found", "--wait=false"]);
});

/** A person with a client certificate that the cluster has signed; nobody else in the cluster has the name. */
export async function openUser(prefix: string, groups: readonly string[] = []): Promise<Identity> {
  const name = `${prefix}-${randomBytes(4).toString("hex")}@e2e`;
  const { privateKey, request } = buildRequest(name, groups);
  const object = `e2e-${createHash("sha256").update(name).digest("hex").slice(0, 16)}`;
  requests.push(object);
  await must(["create", "-f", "-"], {
    input: JSON.stringify({
      apiVersion: "certificates.k8s.io/v1",
      kind: "CertificateSigningRequest",
      metadata: { name: object },
      spec: { request: Buffer.from(request).toString("base64"), signerName: "kubernetes.io/kube-apiserver-client", usages: ["client auth"], expirationSeconds: 3600 },
    }),
  });
  await must(["certificate", "approve", object]);
  const certificate = await eventually(`a certificate for ${name}`, async () => (await must(["get", "certificatesigningrequest", object, "-o", "jsonpath={.status.certificate}"])) || undefined);
  return identity(name, { "client-certificate-data": certificate, "client-key-data": Buffer.from(privateKey).toString("base64") });
}

/** A service account by a token of its own. */
export async function openServiceAccount(namespace: string, account: string): Promise<Identity> {
  return identity(`system:serviceaccount:${namespace}:${account}`, { token: await tokenOf(namespace, account) });
}

/** The release's operator, as whoever has its token. */
export async function openOperator(): Promise<Identity> {
  return openServiceAccount(RELEASE_NAMESPACE, OPERATOR_NAME);
}

/** Gives an identity rights in a namespace, by a Role of its own or by a ClusterRole, and waits until the API server knows. */
export async function grant(namespace: string, identity: Identity, rights: readonly Rule[] | string): Promise<void> {
  const name = `e2e-${randomBytes(4).toString("hex")}`;
  // Bindings are seen in the order in which they were made: whoever has the last one has them all.
  const marker: Rule = { apiGroups: [""], resources: ["configmaps"], resourceNames: [name], verbs: ["get"] };
  const role = (suffix: string, rules: readonly Rule[]) => ({ apiVersion: "rbac.authorization.k8s.io/v1", kind: "Role", metadata: { name: `${name}${suffix}` }, rules });
  const binding = (suffix: string, roleRef: object) => ({ apiVersion: "rbac.authorization.k8s.io/v1", kind: "RoleBinding", metadata: { name: `${name}${suffix}` }, roleRef: { apiGroup: "rbac.authorization.k8s.io", ...roleRef }, subjects: [subjectOf(identity)] });
  const given = typeof rights === "string" ? [binding("", { kind: "ClusterRole", name: rights })] : [role("", rights), binding("", { kind: "Role", name })];
  await apply(namespace, ...given, role("-seen", [marker]), binding("-seen", { kind: "Role", name: `${name}-seen` }));
  await eventually(`the rights of ${identity.name}`, async () => (await identity.kubectl(["auth", "can-i", "get", `configmaps/${name}`, "-n", namespace])).code === 0);
}

function subjectOf({ name }: Identity): object {
  const [, , namespace, account] = name.split(":");
  return name.startsWith("system:serviceaccount:") ? { kind: "ServiceAccount", name: account, namespace } : { kind: "User", name, apiGroup: "rbac.authorization.k8s.io" };
}

/** The release's policies are active when one of them refuses: the API server takes a moment after an upgrade. */
export async function admissionActive(namespace: string): Promise<void> {
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "probe", namespace, labels: { "paddock.dev/component": "runner" } }, spec: { containers: [{ name: "main", image: "none" }] } };
  await eventually("the admission policies to be active", async () => (await kubectl(["create", "--dry-run=server", "-f", "-"], { input: JSON.stringify(pod) })).stderr.includes("belongs to the operator"));
}

interface ClusterConfig {
  readonly clusters: readonly { readonly name: string }[];
}

async function identity(name: string, credentials: Readonly<Record<string, string>>): Promise<Identity> {
  const { clusters } = JSON.parse(await must(["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])) as ClusterConfig;
  const kubeconfig = join(folder, `${randomBytes(6).toString("hex")}.json`);
  const context = { name: "e2e", context: { cluster: clusters[0]?.name, user: "e2e" } };
  const config = { apiVersion: "v1", kind: "Config", clusters, contexts: [context], "current-context": "e2e", users: [{ name: "e2e", user: credentials }] };
  writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  const run = (args: readonly string[], input?: object) => kubectl(args, { kubeconfig, ...(input === undefined ? {} : { input: JSON.stringify(input) }) });
  return {
    name, kubeconfig, kubectl: run,
    must: async (args, input) => {
      const { code, stdout, stderr } = await run(args, input);
      if (code !== 0) throw new Error(`${name}: kubectl ${args.join(" ")}: ${stderr.trim()}`);
      return stdout;
    },
    refusal: async (args, input) => {
      const { code, stdout, stderr } = await run(args, input);
      if (code === 0) throw new Error(`${name}: kubectl ${args.join(" ")} was not refused: ${stdout.trim()}`);
      return stderr.trim();
    },
  };
}

// A certificate request is little enough to be written out: PKCS #10 with an EC key. The first bytes are DER's tags.
const SEQUENCE = 0x30;
const COMMON_NAME = "0603550403";
const ORGANIZATION = "060355040a";
const ECDSA_WITH_SHA256 = "06082a8648ce3d040302";

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

function buildRequest(name: string, groups: readonly string[]): { readonly privateKey: string; readonly request: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const attribute = (oid: string, value: string): Buffer => der(0x31, der(SEQUENCE, Buffer.from(oid, "hex"), der(0x0c, Buffer.from(value))));
  const subject = der(SEQUENCE, ...groups.map((group) => attribute(ORGANIZATION, group)), attribute(COMMON_NAME, name));
  const info = der(SEQUENCE, der(0x02, Buffer.from([0])), subject, publicKey.export({ type: "spki", format: "der" }), der(0xa0));
  const signature = sign("sha256", info, privateKey);
  const request = der(SEQUENCE, info, der(SEQUENCE, Buffer.from(ECDSA_WITH_SHA256, "hex")), der(0x03, Buffer.from([0]), signature));
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${request.toString("base64").replace(/(.{64})/g, "$1\n").trim()}\n-----END CERTIFICATE REQUEST-----\n`;
  return { privateKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), request: pem };
}
