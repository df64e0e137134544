import { join } from "node:path";

/** Everything a running cluster writes. One fixed place, so that `up` of any checkout finds what another one started. */
export const stateDir = "/var/lib/paddock-cluster";
/** Beside the state, because `down` removes the state while it holds the lock. */
export const lockFile = "/run/paddock-cluster.lock";

export const pkiDir = join(stateDir, "pki");
export const logDir = join(stateDir, "log");
export const pidDir = join(stateDir, "pid");
export const programDir = join(stateDir, "bin");
export const volumesDir = join(stateDir, "volumes");
export const configDir = join(stateDir, "config");
export const adminKubeconfig = join(pkiDir, "admin.conf");
export const containerdSocket = join(stateDir, "containerd.sock");
/** One JSON line for every write of Paddock's operator, made by the API server itself. */
export const auditLog = join(stateDir, "audit", "audit.log");

/** The node has a bridge of its own, so nothing depends on the network of the machine. */
export const bridge = "kube0";
export const nodeName = "node";
export const nodeIp = "10.245.0.1";
/** The node's address and the sink's link are of it. */
export const nodeCidr = "10.245.0.0/16";
export const podCidr = "10.244.0.0/16";
export const serviceCidr = "10.96.0.0/16";
/** The Service `kubernetes`: the first address of serviceCidr. */
export const serviceIp = "10.96.0.1";
export const dnsIp = "10.96.0.10";

/** Ports of the machine that the components listen on. */
export const ports = [2379, 2380, 6443, 9879, 10248, 10249, 10250, 10256, 10257, 10259] as const;

/** Places outside stateDir that containerd, its shims, libcni, kubelet and Cilium insist on. Absent before `up`, removed by `down`. */
export const fixedPlaces = [
  "/run/containerd", "/run/cilium", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/sys/fs/bpf/cilium",
] as const;

/** The loopback CNI plugin of Debian's package containernetworking-plugins. */
export const loopbackPlugin = "/usr/lib/cni/loopback";
/** All that Cilium needs of LLVM, from Debian's package clang-19. */
export const clang = "/usr/lib/llvm-19/bin/clang";
