import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../command.ts";
import { adminKubeconfig, nodeIp, nodeName, pkiDir, serviceIp } from "./layout.ts";

interface Certificate { name: string; subject: string; altNames?: readonly string[] }

const apiServerNames = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/** What the API server itself needs before it starts. */
const apiServerCertificates: readonly Certificate[] = [
  {
    name: "apiserver", subject: "/CN=kube-apiserver",
    altNames: [...[nodeIp, serviceIp, "127.0.0.1"].map((ip) => `IP:${ip}`), ...apiServerNames.map((name) => `DNS:${name}`)],
  },
  { name: "to-kubelet", subject: "/O=system:masters/CN=kube-apiserver" },
  { name: "front-proxy", subject: "/CN=front-proxy" },
];

/** Its clients; each also gets a kubeconfig. */
const clientCertificates: readonly Certificate[] = [
  { name: "admin", subject: "/O=system:masters/CN=admin" },
  { name: "controllers", subject: "/CN=system:kube-controller-manager" },
  { name: "scheduler", subject: "/CN=system:kube-scheduler" },
  { name: "proxy", subject: "/CN=system:kube-proxy" },
  { name: "cilium", subject: "/O=system:masters/CN=cilium" },
  { name: "kubelet", subject: `/O=system:nodes/CN=system:node:${nodeName}`, altNames: [`IP:${nodeIp}`, `DNS:${nodeName}`] },
];

/** Makes the cluster's authority and the API server's keys in pkiDir. */
export async function makeAuthority(): Promise<void> {
  await Promise.all([makeKey("ca"), makeKey("sa")]);
  await openssl("pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub");
  await openssl(
    "req", "-x509", "-new", "-key", "ca.key", "-days", "3650", "-subj", "/CN=kubernetes-ca", "-out", "ca.crt",
    "-addext", "keyUsage=critical,keyCertSign,digitalSignature",
  );
  await Promise.all(apiServerCertificates.map(makeCertificate));
}

/** Makes the clients' certificates and kubeconfigs. */
export async function makeClients(): Promise<void> {
  await Promise.all(clientCertificates.map(makeCertificate));
  for (const { name } of clientCertificates) writeFileSync(kubeconfigOf(name), buildKubeconfig(name), { mode: 0o600 });
}

function kubeconfigOf(name: string): string {
  return name === "admin" ? adminKubeconfig : join(pkiDir, `${name}.conf`);
}

function buildKubeconfig(name: string): string {
  const base64 = (file: string): string => readFileSync(join(pkiDir, file)).toString("base64");
  return `apiVersion: v1
kind: Config
clusters: [{name: paddock, cluster: {server: "https://${nodeIp}:6443", certificate-authority-data: ${base64("ca.crt")}}}]
users: [{name: ${name}, user: {client-certificate-data: ${base64(`${name}.crt`)}, client-key-data: ${base64(`${name}.key`)}}}]
contexts: [{name: paddock, context: {cluster: paddock, user: ${name}}}]
current-context: paddock
`;
}

async function makeCertificate({ name, subject, altNames }: Certificate): Promise<void> {
  await makeKey(name);
  const extensions = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"];
  if (altNames) extensions.push(`subjectAltName=${altNames.join(",")}`);
  writeFileSync(join(pkiDir, `${name}.ext`), `${extensions.join("\n")}\n`);
  await openssl("req", "-new", "-key", `${name}.key`, "-subj", subject, "-out", `${name}.csr`);
  await openssl(
    "x509", "-req", "-in", `${name}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "3650",
    "-set_serial", `0x${Buffer.from(name).toString("hex").slice(0, 32)}`, "-extfile", `${name}.ext`, "-out", `${name}.crt`,
  );
}

async function makeKey(name: string): Promise<void> {
  await openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", `${name}.key`);
}

async function openssl(...args: readonly string[]): Promise<void> {
  await run(["openssl", ...args], { cwd: pkiDir });
}
