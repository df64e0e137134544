import { z } from "zod";
import { CIDR_HINT, CIDR_PATTERN, CIDR_RULES } from "./addresses.ts";
import { configMapKeyRef, entryName, labelSelector, secretKeyRef } from "./refs.ts";
import { matching } from "./text.ts";

// What programs in sandboxes may reach, and the credentials that are added for them on the way. Read by the operator, which opens ports of
// runner pods, and by the runner's proxy, which decides on each request (docs/egress.md).

const LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
// The last label starts with a letter, so that no IPv4 address is a host; a wildcard stands before two labels at least.
const HOST = `^(\\*\\.)?(${LABEL}\\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`;
// Visible ASCII but for " # % ? and the backslash: what a request's path holds once it was normalised.
const PATH = "^/[!$&->@-\\[\\]-~]*$";

const NO_METADATA = {
  rule: "!(self.startsWith('metadata.') || self.startsWith('instance-data.'))",
  message: "use another host: names that start with metadata. or instance-data. are those of a cloud's metadata service, which hands out credentials of the node",
};
const NO_API_SERVER = { rule: "!(self.startsWith('kubernetes.default.svc') || self == 'kubernetes.default')", message: "use another host: this is the API server, which sandboxes never reach" };
const ONE_SERVICE = {
  rule: "!(self.startsWith('*.') && (self.endsWith('.svc') || self.endsWith('.cluster.local')))",
  message: "write the name of one Service, e.g. git.tools.svc: a wildcard may not stand for Services",
};

const host = (description: string) =>
  matching(HOST, 253, {
    description,
    hint: "write a host name only, in lower case and without scheme, port, path and final dot, e.g. api.example.com, *.example.com or, for a Service, git.tools.svc; no IP address and no single word",
  }).meta({
    "x-kubernetes-validations": [NO_METADATA, NO_API_SERVER, ONE_SERVICE],
  });

// Requests are compared as they are once dots and empty segments are resolved: such a path would match none.
const NORMAL_PATH = { rule: "!self.matches('//|/\\\\.{1,2}(/|$)')", message: "write the path without //, /./ and /../" };

const methods = (description: string) =>
  z
    .array(matching("^[A-Z]{1,16}$", 16, { description: "methods entry: an HTTP method.", hint: "write an HTTP method in capital letters, e.g. GET" }))
    .min(1)
    .max(16)
    .meta({ description, "x-kubernetes-list-type": "set" });

const paths = (description: string) =>
  z
    .array(
      matching(PATH, 512, {
        description: "paths entry: a path, which stands for itself and all below it.",
        hint: "write a path that starts with /, in ASCII and without query, fragment, space, quote, % and backslash, e.g. /repos/acme",
      }).meta({ "x-kubernetes-validations": [NORMAL_PATH] }),
    )
    .min(1)
    .max(16)
    .meta({ description, "x-kubernetes-list-type": "set" });

const allowedHost = z
  .object({
    host: host("host that programs in sandboxes may reach, or *. and a domain for every name below that; required."),
    ports: z
      .array(z.int().min(1).max(65535).describe("ports entry: a TCP port, 1 to 65535."))
      .min(1)
      .max(16)
      .meta({ description: "ports of the host; absent means 443.", "x-kubernetes-list-type": "set" })
      .optional(),
    methods: methods("methods that requests may have; absent means all. With methods or paths the proxy ends TLS itself, to see them.").optional(),
    paths: paths("paths that requests may be below; absent means all.").optional(),
    addresses: z
      .array(matching(CIDR_PATTERN, 64, { description: "addresses entry: a CIDR.", hint: CIDR_HINT }).meta({ "x-kubernetes-validations": CIDR_RULES }))
      .min(1)
      .max(8)
      .meta({ description: "addresses outside the internet that the host's name may stand for, e.g. of a company's own network; absent means public addresses only.", "x-kubernetes-list-type": "set" })
      .optional(),
  })
  .describe("allowedHosts entry: one host. Of several entries for a host, one that allows the request is enough.");

const inClusterPeer = z
  .object({
    namespaceSelector: labelSelector("namespaceSelector picks namespaces by label; absent means the Environment's own.").optional(),
    podSelector: labelSelector("podSelector picks pods by label; absent means every pod of the namespaces.").optional(),
    ports: z
      .array(z.int().min(1).max(65535).describe("ports entry: a TCP port, 1 to 65535."))
      .min(1)
      .max(16)
      .meta({ description: "ports of the pods (not of a Service in front of them), TCP; required.", "x-kubernetes-list-type": "set" }),
  })
  .describe("inCluster entry: pods that runners may connect to.");

export const networkSchema = z
  .object({
    allowedHosts: z
      .array(allowedHost)
      .max(64)
      .meta({ description: "allowedHosts that programs in sandboxes reach through the runner's proxy; absent means none.", "x-kubernetes-list-type": "atomic" })
      .optional(),
    inCluster: z
      .array(inClusterPeer)
      .max(16)
      .meta({ description: "inCluster peers that runners may connect to; absent means none.", "x-kubernetes-list-type": "atomic" })
      .optional(),
    caBundle: z
      .object({ configMapKeyRef: configMapKeyRef("configMapKeyRef names the ConfigMap key that holds certificates in PEM; required.") })
      .describe("caBundle of authorities that runners and sandboxes trust besides the public ones; absent means none.")
      .optional(),
    enforcement: z
      .enum(["Verified", "Unverified"])
      .describe("enforcement of network policies: Verified stops a session whose sandbox reaches what it must not, Unverified only says so; absent means Verified.")
      .optional(),
  })
  .describe("network that sandboxes reach through the runner's proxy, and runners besides the gateway, cluster DNS and the public addresses of model endpoints; absent means nothing more.");

export type Network = z.infer<typeof networkSchema>;
export type AllowedHost = NonNullable<Network["allowedHosts"]>[number];
export type InClusterPeer = z.infer<typeof inClusterPeer>;

/** Headers that frame a message or name its target. */
const FRAMING = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive", "proxy-authorization", "proxy-connection", "expect"];

const inject = z
  .object({
    header: matching("^[A-Za-z][-A-Za-z0-9_]*$", 64, { description: "header that carries the credential; absent means Authorization.", hint: "write a header's name, e.g. Authorization" })
      .meta({
        "x-kubernetes-validations": [{ rule: `!(self.lowerAscii() in [${FRAMING.map((name) => `'${name}'`).join(", ")}])`, message: "use a header that is not about the connection itself, e.g. Authorization" }],
      })
      .optional(),
    format: matching("^([!-~][ -~]*)?\\{value\\}([ -~]*[!-~])?$", 256, {
      description: "format of the header's value, with {value} where the credential belongs; absent means Bearer {value}.",
      hint: "write the header's value in ASCII with {value} where the credential belongs, e.g. Bearer {value}, and no space at its ends",
    }).optional(),
    basicUsername: matching("^[!-9;-~]+$", 128, {
      description: "basicUsername makes the header one of HTTP basic authentication, with this user name and the credential as password, as git wants it; absent means that format is used.",
      hint: "write a user name without a colon, e.g. x-access-token",
    }).optional(),
  })
  .meta({
    description: "inject says how the credential is put into requests; absent means Authorization: Bearer.",
    "x-kubernetes-validations": [{ rule: "!(has(self.format) && has(self.basicUsername))", message: "write at most one of format and basicUsername" }],
  });

const credential = z
  .object({
    name: entryName("name of the credential in events and messages; required."),
    secretKeyRef: secretKeyRef("secretKeyRef names the Secret key that holds the credential; required. No sandbox ever sees its value."),
    hosts: z
      .array(host("hosts entry: a host as network.allowedHosts has it."))
      .min(1)
      .max(8)
      .meta({ description: "hosts whose requests get the credential, each as it stands in network.allowedHosts; required. The proxy ends TLS to them itself.", "x-kubernetes-list-type": "set" }),
    methods: methods("methods of requests that get the credential; absent means all. Others go without it.").optional(),
    paths: paths("paths below which requests get the credential; absent means all. Others go without it.").optional(),
    inject: inject.optional(),
  })
  .describe("credentials entry: one credential that the runner's proxy adds to requests.");

export const credentialsSchema = z
  .array(credential)
  .max(8)
  .meta({ description: "credentials that the runner's proxy adds to requests of sandboxes; absent means none.", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] });

export type Credential = z.infer<typeof credential>;

/** For the spec that has both: a credential goes only where sandboxes may go. Its loops are bounded by 8 × 8 × 64; words of its own would cost the API server too much. */
export const CREDENTIAL_HOSTS_ARE_ALLOWED = {
  rule: "!has(self.credentials) || self.credentials.all(c, c.hosts.all(h, has(self.network) && has(self.network.allowedHosts) && self.network.allowedHosts.exists(a, a.host == h)))",
  message: "credentials[].hosts names a host that network.allowedHosts does not have: write it there, too, letter for letter",
};
