import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { environmentSpecSchema } from "./environment.ts";
import { buildCrd } from "./schema/crd.ts";
import { brokenRules } from "./schema/testdata/cel.ts";

// What network, credentials and workspace of an Environment take and refuse: by type and bounds, as zod has them, and by the CRD's rules.

const schema = buildCrd("Environment").spec.versions[0].schema.openAPIV3Schema.properties?.spec ?? assert.fail();
const complete = (spec: object) => ({ models: [{ name: "default", model: "m", baseURL: "https://api.example.com/v1" }], ...spec });

/** Where and why a spec is refused. */
function refusals(spec: object): readonly string[] {
  const broken = brokenRules(schema, complete(spec));
  const { error } = environmentSpecSchema.safeParse(complete(spec));
  return [...broken, ...(error?.issues ?? []).map(({ path, message }) => `spec.${path.join(".")}: ${message}`)];
}

const entry = (change: object) => ({ network: { allowedHosts: [{ host: "api.example.com", ...change }] } });
const credential = (change: object) => ({ ...entry({}), credentials: [{ name: "github", secretKeyRef: { name: "github", key: "token" }, hosts: ["api.example.com"], ...change }] });
const injected = (inject: object) => credential({ inject });
const many = (count: number, one: (index: number) => object | number | string): (object | number | string)[] => Array.from({ length: count }, (_, index) => one(index));

interface Field {
  readonly field: string;
  readonly build: (value: never) => object;
  readonly good: readonly unknown[];
  /** With what the answer says. */
  readonly bad: readonly (readonly [value: unknown, says: RegExp])[];
}

const HOST_ONLY = /write a host name only, in lower case and without scheme, port, path/;

const fields: readonly Field[] = [
  {
    field: "network.allowedHosts[].host",
    build: (host) => entry({ host }),
    good: ["api.github.com", "*.example.com", "xn--bcher-kva.example", "a.b", "0.example.com", `${"a".repeat(63)}.example.com`, "git.tools.svc", "git.tools.svc.cluster.local", "*.a.b.c", "mymetadata.example.com"],
    bad: [
      ["https://api.github.com", HOST_ONLY],
      ["api.github.com:443", HOST_ONLY],
      ["api.github.com/repos", HOST_ONLY],
      ["api.github.com.", HOST_ONLY],
      ["API.github.com", HOST_ONLY],
      ["user@github.com", HOST_ONLY],
      ["bücher.example", HOST_ONLY],
      ["10.0.0.1", /no IP address/],
      ["127.1", /no IP address/],
      ["[::1]", /no IP address/],
      ["fd00::1", /no IP address/],
      ["0x7f.0.0.1", /no IP address/],
      ["localhost", /no single word/],
      ["git", /for a Service, git\.tools\.svc/],
      ["*", HOST_ONLY],
      ["*.com", HOST_ONLY],
      ["*.svc", HOST_ONLY],
      ["a.*.com", HOST_ONLY],
      ["*a.example.com", HOST_ONLY],
      ["a..b", HOST_ONLY],
      [".example.com", HOST_ONLY],
      ["-a.example.com", HOST_ONLY],
      ["a_b.example.com", HOST_ONLY],
      ["a.example.com\n", HOST_ONLY],
      [`${"a".repeat(64)}.example.com`, HOST_ONLY],
      [`${"a.".repeat(126)}example`, /253/],
      ["", /host/],
      ["*.tools.svc", /write the name of one Service/],
      ["*.tools.svc.cluster.local", /write the name of one Service/],
      ["*.cluster.local", /write the name of one Service/],
      ["metadata.google.internal", /names that start with metadata/],
      ["metadata.azure.com", /names that start with metadata/],
      ["instance-data.ec2.internal", /names that start with metadata/],
      ["kubernetes.default", /this is the API server/],
      ["kubernetes.default.svc", /this is the API server/],
      ["kubernetes.default.svc.cluster.local", /this is the API server/],
    ],
  },
  { field: "network.allowedHosts", build: (allowedHosts) => ({ network: { allowedHosts } }), good: [[], [{ host: "a.b" }, { host: "a.b", methods: ["GET"] }], many(64, (i) => ({ host: `h${i}.b` }))], bad: [[many(65, (i) => ({ host: `h${i}.b` })), /64/], [[{}], /host/]] },
  { field: "network.allowedHosts[].ports", build: (ports) => entry({ ports }), good: [[443], [1, 65535], many(16, (i) => i + 1)], bad: [[[], /1/], [[0], /ports/], [[65536], /65535/], [["https"], /number/], [[-1], /ports/], [many(17, (i) => i + 1), /16/]] },
  { field: "network.allowedHosts[].methods", build: (methods) => entry({ methods }), good: [["GET"], ["GET", "M"]], bad: [[["get"], /capital letters, e\.g\. GET/], [[], /1/], [["GET,POST"], /capital letters/], [["M-SEARCH"], /capital letters/], [["A".repeat(17)], /16/]] },
  {
    field: "network.allowedHosts[].paths",
    build: (path: never) => entry({ paths: [path] }),
    good: ["/", "/repos/acme", "/repos/", "/.well-known/x", "/...", "/a;b=c/@x/~y/[z]", "/a'b"],
    bad: [
      ["repos", /starts with \//],
      ["", /paths/],
      ["/a b", /without query, fragment, space/],
      ["/a?b=c", /without query/],
      ["/a#b", /fragment/],
      ["/a%2fb", /% and backslash/],
      ["/a\\b", /% and backslash/],
      ["/é", /in ASCII/],
      ["/a\n", /in ASCII/],
      ["/a\u0000", /in ASCII/],
      ["/a//b", /write the path without \/\//],
      ["//", /write the path without \/\//],
      ["/a/./b", /write the path without/],
      ["/a/../b", /write the path without/],
      ["/..", /write the path without/],
      [`/${"a".repeat(512)}`, /512/],
    ],
  },
  { field: "network.allowedHosts[].addresses", build: (addresses) => entry({ addresses }), good: [["10.0.0.0/8", "fd00:20::/64"]], bad: [[[], /1/], [["10.0.0.0"], /write a CIDR such as/], [["10.0.0.0-10.0.0.9"], /write a CIDR/], [["git.example.com/24"], /write a CIDR/], [many(9, (i) => `10.${i}.0.0/16`), /8/]] },
  { field: "network.caBundle", build: (caBundle) => ({ network: { caBundle } }), good: [{ configMapKeyRef: { name: "ca", key: "ca.crt" } }], bad: [[{}, /configMapKeyRef/], [{ configMapKeyRef: { name: "CA", key: "ca.crt" } }, /write an object's name/], [{ configMapKeyRef: { name: "ca", key: "a/b" } }, /key of a ConfigMap/]] },
  { field: "network.enforcement", build: (enforcement) => ({ network: { enforcement } }), good: ["Verified", "Unverified"], bad: [["Off", /Verified/], ["", /Verified/], [false, /Verified/]] },
  { field: "credentials[].name", build: (name) => credential({ name }), good: ["github", "x".repeat(63)], bad: [["GitHub", /write a name of lower-case/], ["a.b", /write a name/], ["", /name/], ["x".repeat(64), /63/]] },
  { field: "credentials[].secretKeyRef", build: (secretKeyRef) => credential({ secretKeyRef }), good: [{ name: "s", key: "k" }], bad: [[{ name: "s" }, /key/], [{ name: "s", key: "../k" }, /key of a Secret/], [{ name: "other/s", key: "k" }, /write an object's name/]] },
  {
    field: "credentials[].hosts",
    build: (hosts) => ({ ...credential({ hosts }), network: { allowedHosts: [{ host: "api.example.com" }, { host: "*.example.org" }] } }),
    good: [["api.example.com"], ["*.example.org", "api.example.com"]],
    bad: [
      [[], /1/],
      [["api.example.net"], /credentials\[\]\.hosts names a host that network\.allowedHosts does not have: write it there/],
      [["api.example.com", "api.example.net"], /names a host that network\.allowedHosts does not have/],
      // Below a wildcard, and all the same another word: the two lists are read side by side.
      [["a.example.org"], /letter for letter/],
      [["https://api.example.com"], HOST_ONLY],
      [many(9, (i) => `h${i}.b`), /8/],
    ],
  },
  { field: "credentials[].methods and paths", build: (change: never) => credential(change), good: [{ methods: ["GET"], paths: ["/repos"] }], bad: [[{ methods: ["get"] }, /capital letters/], [{ paths: ["repos"] }, /starts with/], [{ paths: ["/../x"] }, /write the path without/]] },
  {
    field: "credentials[].inject.header",
    build: (header) => injected({ header }),
    good: ["Authorization", "x-api-key", "PRIVATE-TOKEN", "X_Key", "Cookie"],
    bad: [
      ["Host", /not about the connection itself/],
      ["CONTENT-LENGTH", /not about the connection itself/],
      ["transfer-encoding", /not about the connection itself/],
      ["Proxy-Authorization", /not about the connection itself/],
      ["Connection", /not about the connection itself/],
      ["X Key", /write a header's name/],
      ["X-Key:", /write a header's name/],
      [":authority", /write a header's name/],
      ["X\r\nY", /write a header's name/],
      ["", /header/],
      ["x".repeat(65), /64/],
    ],
  },
  {
    field: "credentials[].inject.format",
    build: (format) => injected({ format }),
    good: ["Bearer {value}", "{value}", "token={value}; path=/", '{"key": "{value}"}'],
    bad: [["Bearer", /with \{value\} where the credential belongs/], ["Bearer {VALUE}", /with \{value\}/], ["Bearer ${value", /with \{value\}/], ["{value}\n", /ASCII/], ["é {value}", /ASCII/], [" {value}", /no space at its ends/], ["Bearer {value} ", /no space at its ends/], [`${"x".repeat(250)}{value}`, /256/]],
  },
  { field: "credentials[].inject.basicUsername", build: (basicUsername) => injected({ basicUsername }), good: ["x-access-token", "git", "a@b"], bad: [["a:b", /without a colon/], ["a b", /without a colon/], ["", /basicUsername/], ["x".repeat(129), /128/]] },
  { field: "credentials[].inject", build: (inject) => injected(inject), good: [{}, { header: "X-Key" }], bad: [[{ format: "{value}", basicUsername: "git" }, /write at most one of format and basicUsername/]] },
  { field: "credentials", build: (credentials) => ({ ...entry({}), credentials }), good: [[]], bad: [[many(9, (i) => ({ name: `c${i}`, secretKeyRef: { name: "s", key: "k" }, hosts: ["api.example.com"] })), /8/]] },
  { field: "credentials without network", build: (credentials) => ({ credentials }), good: [[]], bad: [[[{ name: "c", secretKeyRef: { name: "s", key: "k" }, hosts: ["api.example.com"] }], /network\.allowedHosts does not have/]] },
  {
    field: "sandbox.workspace",
    build: (workspace) => ({ sandbox: { workspace } }),
    good: [{}, { persistence: "Ephemeral" }, { persistence: "Session" }, { persistence: "Session", storageClassName: "fast", size: "5Gi" }],
    bad: [
      [{ storageClassName: "fast" }, /storageClassName goes with persistence: Session: write that/],
      [{ storageClassName: "fast", persistence: "Ephemeral" }, /storageClassName goes with persistence: Session/],
      [{ persistence: "Forever" }, /persistence/],
      [{ persistence: "Session", storageClassName: "Fast" }, /write an object's name/],
    ],
  },
];

for (const { field, build, good, bad } of fields) {
  describe(field, () => {
    it("takes what is right", () => {
      for (const value of good) assert.deepEqual(refusals(build(value as never)), [], JSON.stringify(value).slice(0, 200));
    });
    for (const [value, says] of bad) {
      it(`refuses ${JSON.stringify(value).slice(0, 80)}`, () => assert.match(refusals(build(value as never)).join("\n"), says));
    }
  });
}

it("the same name, host or port twice is the API server's to refuse: lists say what makes their elements one", () => {
  const listOf = (...path: readonly string[]) => path.reduce((node, name) => (name === "[]" ? node.items : node.properties?.[name]) ?? assert.fail(name), schema);
  assert.deepEqual([listOf("credentials")["x-kubernetes-list-type"], listOf("credentials")["x-kubernetes-list-map-keys"]], ["map", ["name"]]);
  for (const name of ["ports", "methods", "paths", "addresses"]) assert.equal(listOf("network", "allowedHosts", "[]", name)["x-kubernetes-list-type"], "set", name);
  assert.equal(listOf("credentials", "[]", "hosts")["x-kubernetes-list-type"], "set");
  // One host may have several entries.
  assert.equal(listOf("network", "allowedHosts")["x-kubernetes-list-type"], "atomic");
});
