import { join } from "node:path";
import type { Binaries } from "./binaries.ts";
import type { Daemon } from "./daemon.ts";
import { auditLog, bridge, configDir, nodeIp, nodeName, pkiDir, podCidr, programDir, serviceCidr, stateDir } from "./layout.ts";

/** Loopback and fast: the stock limits of the controllers cost six seconds of every start. */
const unhurriedClient = ["--kube-api-qps=1000", "--kube-api-burst=2000"];

const program = (name: string): string => join(programDir, name);
const pki = (name: string): string => join(pkiDir, name);

/** Plain text on loopback is fine here: whoever is on this machine as root owns the cluster anyway. */
export const etcd: Daemon = {
  name: "etcd",
  argv: [
    program("etcd"), "--name=node", `--data-dir=${stateDir}/etcd`, "--log-level=warn",
    "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    "--initial-cluster=node=http://127.0.0.1:2380",
  ],
};

export const containerd: Daemon = { name: "containerd", argv: [program("containerd"), "--config", join(configDir, "containerd.toml")] };

export const apiServer: Daemon = {
  name: "kube-apiserver",
  argv: [
    program("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", `--advertise-address=${nodeIp}`, "--secure-port=6443", `--cert-dir=${pkiDir}`,
    `--tls-cert-file=${pki("apiserver.crt")}`, `--tls-private-key-file=${pki("apiserver.key")}`, `--client-ca-file=${pki("ca.crt")}`,
    `--kubelet-client-certificate=${pki("to-kubelet.crt")}`, `--kubelet-client-key=${pki("to-kubelet.key")}`,
    `--kubelet-certificate-authority=${pki("ca.crt")}`,
    "--kubelet-preferred-address-types=InternalIP", // or exec and logs look up the node's name
    `--requestheader-client-ca-file=${pki("ca.crt")}`, "--requestheader-allowed-names=front-proxy",
    "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${pki("front-proxy.crt")}`, `--proxy-client-key-file=${pki("front-proxy.key")}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${pki("sa.pub")}`, `--service-account-signing-key-file=${pki("sa.key")}`,
    "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
    `--audit-policy-file=${join(configDir, "audit.yaml")}`, `--audit-log-path=${auditLog}`,
    `--service-cluster-ip-range=${serviceCidr}`, "--allow-privileged=true", "--profiling=false",
  ],
};

/** They need the API server and, the kubelet, containerd. */
export const controlPlane: readonly Daemon[] = [
  {
    name: "kube-controller-manager",
    argv: [
      program("kube-controller-manager"), ...authenticatedBy("controllers"), "--use-service-account-credentials",
      `--service-account-private-key-file=${pki("sa.key")}`, `--root-ca-file=${pki("ca.crt")}`,
      `--cluster-signing-cert-file=${pki("ca.crt")}`, `--cluster-signing-key-file=${pki("ca.key")}`,
      `--cluster-cidr=${podCidr}`, "--allocate-node-cidrs", ...unhurriedClient,
    ],
  },
  { name: "kube-scheduler", argv: [program("kube-scheduler"), ...authenticatedBy("scheduler"), ...unhurriedClient] },
  {
    name: "kubelet",
    argv: [
      program("kubelet"), `--kubeconfig=${pki("kubelet.conf")}`, `--config=${join(configDir, "kubelet.yaml")}`, `--root-dir=${stateDir}/kubelet`,
      `--cert-dir=${pkiDir}`, `--hostname-override=${nodeName}`, `--node-ip=${nodeIp}`,
    ],
  },
  { name: "kube-proxy", argv: [program("kube-proxy"), `--config=${join(configDir, "proxy.yaml")}`] },
];

function authenticatedBy(who: string): readonly string[] {
  const kubeconfig = pki(`${who}.conf`);
  return [
    `--kubeconfig=${kubeconfig}`, `--authentication-kubeconfig=${kubeconfig}`, `--authorization-kubeconfig=${kubeconfig}`,
    "--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
  ];
}

/**
 * The pod network and the enforcement of network policies. Needs its CRDs established.
 * `--policy-cidr-match-mode=nodes` lets `ipBlock` match the node and the API server; it never matches pods.
 */
export function buildCilium(binaries: Binaries): Daemon {
  return {
    name: "cilium",
    argv: [
      "/usr/bin/env", `K8S_NODE_NAME=${nodeName}`, join(binaries.cilium, "cilium-agent"), `--k8s-kubeconfig-path=${pki("cilium.conf")}`,
      `--lib-dir=${binaries.cilium}/lib`, `--cgroup-root=${stateDir}/cgroup2`, `--devices=${bridge}`, `--direct-routing-device=${bridge}`,
      "--enable-ipv4", "--enable-ipv6=false", "--ipam=kubernetes", "--k8s-require-ipv4-pod-cidr", "--identity-allocation-mode=crd",
      "--routing-mode=native", `--ipv4-native-routing-cidr=${podCidr}`, "--enable-ipv4-masquerade=false", "--kube-proxy-replacement=false",
      "--policy-cidr-match-mode=nodes", "--enable-l7-proxy=false", "--enable-envoy-config=false", "--enable-hubble=false",
      "--enable-gops=false", "--enable-health-checking=false", "--enable-endpoint-health-checking=false",
    ],
  };
}
