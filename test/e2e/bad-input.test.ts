import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { API_VERSION } from "@paddock/api/group";
import type { Environment } from "@paddock/api/environment";
import type { Condition } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import { buildAgent, buildEnvironment, buildSession, eventually } from "./lab.ts";
import { grant, openOperator } from "./identities.ts";
import { type Output, get, kubectl, must } from "./kubectl.ts";
import { openNamespace } from "./namespace.ts";

// Every answer names the field, shows the value and says what to write; the right value then goes through without anything being restarted.

interface Case {
  readonly fault: string;
  readonly bad: object;
  /** What the answer must say, in any order. */
  readonly says: readonly string[];
}

const digest = `sha256:${"0".repeat(64)}`;
const NUL = String.fromCharCode(0);

function buildSchedule(name: string, spec: object = {}): object {
  return {
    apiVersion: API_VERSION,
    kind: "Schedule",
    metadata: { name },
    spec: {
      schedule: "30 6 * * 1-5",
      suspend: true,
      sessionTemplate: { spec: { agentRef: { name: "agent" }, environmentRef: { name: "environment" }, prompt: "go" } },
      ...spec,
    },
  };
}

const namespace = await openNamespace("bad");
// Approvals belong to a Session, and go with it. Its Agent does not exist, so nothing runs.
await must(["create", "-n", namespace, "-f", "-"], { input: JSON.stringify(buildSession("asking", "go", { agent: "none" })) });
const ASKING_UID = (await get<Session>("session", "asking", namespace))?.metadata.uid ?? "";

function buildApproval(name: string, spec: object = {}): object {
  const ownerReferences = [{ apiVersion: API_VERSION, kind: "Session", name: "asking", uid: ASKING_UID, controller: true }];
  return {
    apiVersion: API_VERSION,
    kind: "Approval",
    metadata: { name, labels: { "app.kubernetes.io/managed-by": "paddock" }, ownerReferences },
    spec: {
      sessionRef: { name: "asking", uid: ASKING_UID },
      agentName: "agent",
      call: "root/1/0",
      tool: "bash",
      fingerprint: digest,
      argumentsSummary: "command: git push",
      argumentsDigest: digest,
      requesters: ["alice"],
      allowRequester: false,
      allowServiceAccounts: false,
      requestedAt: "2026-11-21T12:00:00Z",
      expiresAt: "2999-01-01T00:00:00Z",
      traceID: "0".repeat(32),
      ...spec,
    },
  };
}

const agentCases: readonly Case[] = [
  { fault: "an unknown field", bad: buildAgent("a", { instruction: "hi" }), says: ['unknown field "spec.instruction"'] },
  { fault: "no model", bad: buildAgent("a", { model: undefined }), says: ["spec.model", "Required value"] },
  { fault: "a tool that does not exist", bad: buildAgent("a", { tools: [{ name: "fetch" }] }), says: ["spec.tools[0].name", '"fetch"', '"bash", "read", "write"'] },
  { fault: "the same tool twice", bad: buildAgent("a", { tools: [{ name: "bash" }, { name: "bash" }] }), says: ["spec.tools[1]", "Duplicate value", '"bash"'] },
  { fault: "a permission that does not exist", bad: buildAgent("a", { tools: [{ name: "bash", permission: "Sometimes" }] }), says: ["spec.tools[0].permission", '"Sometimes"', '"Allow", "Ask", "Deny"'] },
  { fault: "a custom tool with the name of a built-in one", bad: clientTool({ name: "bash" }), says: ["spec.customTools", "a custom tool has the name of a built-in one", "write another name"] },
  { fault: "a custom tool with a blank in its name", bad: clientTool({ name: "post note" }), says: ["spec.customTools[0].name", '"post note"', "letters, digits"] },
  { fault: "a custom tool without a schema", bad: clientTool({ inputSchema: undefined }), says: ["spec.customTools[0].inputSchema", "Required value"] },
  { fault: "a custom tool that waits for nobody", bad: clientTool({ timeoutSeconds: 0 }), says: ["spec.customTools[0].timeoutSeconds", "Invalid value: 0", "greater than or equal to 1"] },
  { fault: "a temperature out of range", bad: buildAgent("a", { model: { name: "default", temperature: "3" } }), says: ["spec.model.temperature", '"3"', 'a decimal string from "0" to "2"'] },
  { fault: "a temperature as a number", bad: buildAgent("a", { model: { name: "default", temperature: 0.2 } }), says: ["spec.model.temperature", "must be of type string"] },
  { fault: "a model name in capitals", bad: buildAgent("a", { model: { name: "Default" } }), says: ["spec.model.name", '"Default"', "lower-case letters"] },
  { fault: "zero turns", bad: buildAgent("a", { limits: { maxTurns: 0 } }), says: ["spec.limits.maxTurns", "Invalid value: 0", "greater than or equal to 1"] },
  { fault: "instructions over 64 Ki characters", bad: buildAgent("a", { instructions: "x".repeat(65537) }), says: ["spec.instructions", "longer than 65536 characters", "use instructionsFrom"] },
  { fault: "instructions twice", bad: buildAgent("a", { instructionsFrom: { configMapKeyRef: { name: "m", key: "k" } } }), says: ["spec", "exactly one of instructions and instructionsFrom"] },
  { fault: "no instructions", bad: buildAgent("a", { instructions: undefined }), says: ["spec", "exactly one of instructions and instructionsFrom"] },
  { fault: "instructions from a key that is none", bad: buildAgent("a", { instructions: undefined, instructionsFrom: { configMapKeyRef: { name: "m", key: "a/b" } } }), says: ["configMapKeyRef.key", '"a/b"', "key of a ConfigMap"] },
  { fault: "an effort that does not exist", bad: buildAgent("a", { model: { name: "default", reasoningEffort: "max" } }), says: ["spec.model.reasoningEffort", '"max"', '"minimal", "low", "medium", "high"'] },
  { fault: "zero tokens of output", bad: buildAgent("a", { model: { name: "default", maxOutputTokens: 0 } }), says: ["spec.model.maxOutputTokens", "Invalid value: 0"] },
  { fault: "instructions with NUL", bad: buildAgent("a", { instructions: `be${NUL}good` }), says: ["spec.instructions", "NUL character"] },
];

const environmentCases: readonly Case[] = [
  { fault: "an unknown field", bad: buildEnvironment("e", { model: { url: "x" } }), says: ['unknown field "spec.models[0].url"'] },
  { fault: "no model", bad: buildEnvironment("e", { spec: { models: [] } }), says: ["spec.models", "at least 1"] },
  { fault: "the same model twice", bad: duplicateModel(), says: ["spec.models[1]", "Duplicate value", '"default"'] },
  { fault: "a base URL without scheme", bad: buildEnvironment("e", { model: { baseURL: "api.openai.com/v1" } }), says: ["spec.models[0].baseURL", '"api.openai.com/v1"', "such as https://api.openai.com/v1"] },
  { fault: "a base URL with credentials", bad: buildEnvironment("e", { model: { baseURL: "https://me@api.example.com/v1" } }), says: ["spec.models[0].baseURL", "without credentials"] },
  { fault: "a price with an exponent", bad: priced("1e3"), says: ["spec.models[0].pricing.inputPerMillion", '"1e3"', 'such as "1.25"', "no sign, exponent"] },
  { fault: "a negative price", bad: priced("-1"), says: ["spec.models[0].pricing.inputPerMillion", '"-1"', "no sign"] },
  { fault: "a name with an underscore", bad: buildEnvironment("e", { model: { name: "my_model" } }), says: ["spec.models[0].name", '"my_model"', "lower-case letters"] },
  { fault: "a Secret key with a slash", bad: buildEnvironment("e", { model: { apiKey: { secretKeyRef: { name: "s", key: "a/b" } } } }), says: ["apiKey.secretKeyRef.key", '"a/b"', "letters, digits"] },
  { fault: "a key in the manifest itself", bad: buildEnvironment("e", { model: { apiKey: { value: "not-a-key" } } }), says: ['unknown field "spec.models[0].apiKey.value"'] },
  { fault: "a quantity in words", bad: limited({ memory: "lots" }), says: ["spec.sandbox.resources.limits.memory", '"lots"', "such as 500m, 1 or 256Mi"] },
  { fault: "a negative quantity", bad: limited({ cpu: "-1" }), says: ["spec.sandbox.resources.limits.cpu", '"-1"', "above zero"] },
  { fault: "a request above its limit", bad: limited({ cpu: "1" }, { cpu: 2 }), says: ["spec.sandbox.resources", "requests.cpu is more than limits.cpu", "lower the request"] },
  { fault: "an image with a scheme", bad: buildEnvironment("e", { spec: { sandbox: { image: "https://ghcr.io/x" } } }), says: ["spec.sandbox.image", '"https://ghcr.io/x"', "such as ghcr.io/paddock/sandbox"] },
  { fault: "a tool in permissions twice", bad: buildEnvironment("e", { spec: { permissions: [{ tool: "bash", decision: "Deny" }, { tool: "bash", decision: "Allow" }] } }), says: ["spec.permissions[1]", "Duplicate value"] },
  { fault: "a port out of range", bad: reaching({ ports: [70000] }), says: ["spec.network.inCluster[0].ports[0]", "70000", "less than or equal to 65535"] },
  { fault: "a base URL with a port out of range", bad: buildEnvironment("e", { model: { baseURL: "https://api.example.com:70000/v1" } }), says: ["spec.models[0].baseURL", "a port up to 65535"] },
  { fault: "a model id with NUL", bad: buildEnvironment("e", { model: { model: `gpt${NUL}` } }), says: ["spec.models[0].model", "NUL character"] },
  { fault: "an empty price", bad: priced(""), says: ["spec.models[0].pricing.inputPerMillion", "at least 1 chars"] },
  { fault: "nine models", bad: buildEnvironment("e", { spec: { models: Array.from({ length: 9 }, (_, i) => ({ name: `m${i}`, model: "m", baseURL: "https://api.example.com/v1" })) } }), says: ["spec.models", "Too many: 9", "at most 8"] },
  { fault: "a workspace above the storage limit", bad: buildEnvironment("e", { spec: { sandbox: { workspace: { size: "2Gi" }, resources: { limits: { "ephemeral-storage": "1Gi" } } } } }), says: ["spec.sandbox", "workspace.size", "resources.limits.ephemeral-storage", "lower the size"] },
  { fault: "a storage limit below the default workspace", bad: buildEnvironment("e", { spec: { sandbox: { resources: { limits: { "ephemeral-storage": "512Mi" } } } } }), says: ["spec.sandbox", "1Gi when absent"] },
  { fault: "a runtime class that is no name", bad: buildEnvironment("e", { spec: { sandbox: { runtimeClassName: "gVisor" } } }), says: ["spec.sandbox.runtimeClassName", '"gVisor"', "lower-case letters"] },
  { fault: "a way of provisioning that does not exist", bad: buildEnvironment("e", { spec: { sandbox: { provisioning: "Lazy" } } }), says: ["spec.sandbox.provisioning", '"Lazy"', '"OnDemand", "Eager", "Never"'] },
  { fault: "a floor that does not exist", bad: buildEnvironment("e", { spec: { permissions: [{ tool: "bash", decision: "Never" }] } }), says: ["spec.permissions[0].decision", '"Never"', '"Allow", "Ask", "Deny"'] },
  { fault: "no money at all", bad: buildEnvironment("e", { spec: { limits: { costUSD: "0.00" } } }), says: ["spec.limits.costUSD", '"0.00"', "above zero"] },
  { fault: "money below zero", bad: buildEnvironment("e", { spec: { budget: { costUSDPerDay: "-5" } } }), says: ["spec.budget.costUSDPerDay", '"-5"', 'a decimal string such as "2.00"'] },
  { fault: "money with an exponent", bad: buildEnvironment("e", { spec: { budget: { costUSDPerDay: "1e3" } } }), says: ["spec.budget.costUSDPerDay", '"1e3"', "exponent"] },
  { fault: "money as a number", bad: buildEnvironment("e", { spec: { limits: { costUSD: 2 } } }), says: ["spec.limits.costUSD", "must be of type string"] },
  { fault: "no tokens", bad: buildEnvironment("e", { spec: { limits: { totalTokens: 0 } } }), says: ["spec.limits.totalTokens", "Invalid value: 0", "greater than or equal to 1"] },
  { fault: "approvals that nobody can answer in time", bad: buildEnvironment("e", { spec: { approvals: { timeoutSeconds: 0 } } }), says: ["spec.approvals.timeoutSeconds", "Invalid value: 0", "greater than or equal to 1"] },
  { fault: "content of traces that is neither left out nor kept", bad: buildEnvironment("e", { spec: { telemetry: { content: "Some" } } }), says: ["spec.telemetry.content", '"Some"', '"Omitted"', '"Recorded"'] },
  { fault: "no session at the same time", bad: buildEnvironment("e", { spec: { budget: { maxConcurrentSessions: 0 } } }), says: ["spec.budget.maxConcurrentSessions", "Invalid value: 0", "greater than or equal to 1"] },
  { fault: "an Agent that is no name", bad: buildEnvironment("e", { spec: { allowedAgents: ["Notes"] } }), says: ["spec.allowedAgents[0]", '"Notes"', "lower-case letters"] },
  { fault: "the same Agent twice", bad: buildEnvironment("e", { spec: { allowedAgents: ["a", "a"] } }), says: ["spec.allowedAgents[1]", "Duplicate value", '"a"'] },
  { fault: "the same pull secret twice", bad: buildEnvironment("e", { spec: { imagePullSecrets: [{ name: "r" }, { name: "r" }] } }), says: ["spec.imagePullSecrets[1]", "Duplicate value"] },
  { fault: "five pull secrets", bad: buildEnvironment("e", { spec: { imagePullSecrets: ["a", "b", "c", "d", "e"].map((name) => ({ name })) } }), says: ["spec.imagePullSecrets", "at most 4"] },
  { fault: "a system priority class", bad: scheduled({ priorityClassName: "system-node-critical" }), says: ["spec.scheduling.priorityClassName", '"system-node-critical"', "of your own"] },
  { fault: "a node label that is none", bad: scheduled({ nodeSelector: { "a b": "c" } }), says: ["spec.scheduling.nodeSelector", "keys such as app or app.kubernetes.io/name"] },
  { fault: "a node label with a name of 64 characters", bad: scheduled({ nodeSelector: { ["k".repeat(64)]: "c" } }), says: ["spec.scheduling.nodeSelector", "keys such as"] },
  { fault: "a node label's value with a space", bad: scheduled({ nodeSelector: { disk: "fast ssd" } }), says: ["spec.scheduling.nodeSelector", '"fast ssd"', "a label's value"] },
  { fault: "a toleration of nothing", bad: tolerating({}), says: ["spec.scheduling.tolerations[0]", "write the key of the taint, or operator: Exists"] },
  { fault: "a toleration that needs no value", bad: tolerating({ key: "gpu", operator: "Exists", value: "yes" }), says: ["spec.scheduling.tolerations[0]", "operator Exists takes no value"] },
  { fault: "seconds without NoExecute", bad: tolerating({ key: "gpu", effect: "NoSchedule", tolerationSeconds: 60 }), says: ["spec.scheduling.tolerations[0]", "write effect: NoExecute"] },
  { fault: "a taint's key with a space", bad: tolerating({ key: "my taint" }), says: ["spec.scheduling.tolerations[0].key", '"my taint"', "keys such as"] },
  { fault: "a link without trace id", bad: buildEnvironment("e", { spec: { telemetry: { traceURLTemplate: "https://jaeger/trace" } } }), says: ["spec.telemetry.traceURLTemplate", '"https://jaeger/trace"', "{traceId} where the trace id belongs"] },
  { fault: "a link of another scheme", bad: buildEnvironment("e", { spec: { telemetry: { traceURLTemplate: "javascript:alert({traceId})" } } }), says: ["spec.telemetry.traceURLTemplate", "e.g. https://jaeger.example.com"] },
  { fault: "a peer without ports", bad: reaching({ ports: [] }), says: ["spec.network.inCluster[0].ports", "at least 1"] },
  { fault: "the same port twice", bad: reaching({ ports: [80, 80] }), says: ["spec.network.inCluster[0].ports[1]", "Duplicate value", "80"] },
  { fault: "a host with a scheme", bad: hosted("https://api.example.com"), says: ["spec.network.allowedHosts[0].host", '"https://api.example.com"', "without scheme, port, path"] },
  { fault: "a host with a port", bad: hosted("api.example.com:443"), says: ["allowedHosts[0].host", '"api.example.com:443"', "a host name only"] },
  { fault: "a host with a path", bad: hosted("api.example.com/v1"), says: ["allowedHosts[0].host", '"api.example.com/v1"', "a host name only"] },
  { fault: "a host in capitals", bad: hosted("API.example.com"), says: ["allowedHosts[0].host", '"API.example.com"', "in lower case"] },
  { fault: "a host with a final dot", bad: hosted("api.example.com."), says: ["allowedHosts[0].host", '"api.example.com."', "final dot"] },
  { fault: "an address for a host", bad: hosted("10.0.0.1"), says: ["allowedHosts[0].host", '"10.0.0.1"', "no IP address"] },
  { fault: "an IPv6 address for a host", bad: hosted("[::1]"), says: ["allowedHosts[0].host", '"[::1]"', "no IP address"] },
  { fault: "a host of one word", bad: hosted("localhost"), says: ["allowedHosts[0].host", '"localhost"', "no single word"] },
  { fault: "every host", bad: hosted("*"), says: ["allowedHosts[0].host", '"*"', "*.example.com"] },
  { fault: "every host of a top-level domain", bad: hosted("*.com"), says: ["allowedHosts[0].host", '"*.com"', "*.example.com"] },
  { fault: "a host with a label of 64 characters", bad: hosted(`${"a".repeat(64)}.com`), says: ["allowedHosts[0].host", "a host name only"] },
  { fault: "every Service", bad: hosted("*.tools.svc"), says: ["allowedHosts[0].host", '"*.tools.svc"', "write the name of one Service"] },
  { fault: "a cloud's metadata service", bad: hosted("metadata.google.internal"), says: ["allowedHosts[0].host", '"metadata.google.internal"', "hands out credentials of the node"] },
  { fault: "the API server", bad: hosted("kubernetes.default.svc"), says: ["allowedHosts[0].host", '"kubernetes.default.svc"', "this is the API server"] },
  { fault: "an allowed host without name", bad: allowing({ host: undefined, ports: [443] }), says: ["spec.network.allowedHosts[0].host", "Required value"] },
  { fault: "65 hosts", bad: buildEnvironment("e", { spec: { network: { allowedHosts: Array.from({ length: 65 }, (_, i) => ({ host: `h${i}.example.com` })) } } }), says: ["spec.network.allowedHosts", "Too many: 65", "at most 64"] },
  { fault: "a host's port 0", bad: allowing({ ports: [0] }), says: ["spec.network.allowedHosts[0].ports[0]", "Invalid value: 0", "greater than or equal to 1"] },
  { fault: "a host's port twice", bad: allowing({ ports: [443, 443] }), says: ["spec.network.allowedHosts[0].ports[1]", "Duplicate value", "443"] },
  { fault: "a method in small letters", bad: allowing({ methods: ["get"] }), says: ["spec.network.allowedHosts[0].methods[0]", '"get"', "in capital letters, e.g. GET"] },
  { fault: "no method at all", bad: allowing({ methods: [] }), says: ["spec.network.allowedHosts[0].methods", "at least 1"] },
  { fault: "a path without slash", bad: allowing({ paths: ["repos"] }), says: ["spec.network.allowedHosts[0].paths[0]", '"repos"', "starts with /"] },
  { fault: "a path with a query", bad: allowing({ paths: ["/repos?page=1"] }), says: ["paths[0]", '"/repos?page=1"', "without query"] },
  { fault: "a path that is escaped", bad: allowing({ paths: ["/a%2fb"] }), says: ["paths[0]", '"/a%2fb"', "without query, fragment, space, quote, %"] },
  { fault: "a path with a letter that is not ASCII", bad: allowing({ paths: ["/é"] }), says: ["paths[0]", "in ASCII"] },
  { fault: "a path upwards", bad: allowing({ paths: ["/public/../private"] }), says: ["paths[0]", '"/public/../private"', "write the path without //, /./ and /../"] },
  { fault: "a path with an empty segment", bad: allowing({ paths: ["/a//b"] }), says: ["paths[0]", '"/a//b"', "write the path without //"] },
  { fault: "addresses that are no CIDR", bad: allowing({ addresses: ["10.0.0.1"] }), says: ["spec.network.allowedHosts[0].addresses[0]", '"10.0.0.1"', "write a CIDR such as 10.20.0.0/16"] },
  { fault: "addresses with numbers above 255", bad: allowing({ addresses: ["300.0.0.0/8"] }), says: ["addresses[0]", '"300.0.0.0/8"', "0 to 255"] },
  { fault: "addresses with bits beyond the prefix", bad: allowing({ addresses: ["10.1.1.1/16"] }), says: ["addresses[0]", '"10.1.1.1/16"', "write the network itself"] },
  { fault: "IPv4 addresses written as IPv6", bad: allowing({ addresses: ["::ffff:10.0.0.0/104"] }), says: ["addresses[0]", '"::ffff:10.0.0.0/104"', "IPv4 networks as such"] },
  ...["127.0.0.0/8", "0.0.0.0/0", "169.254.169.254/32", "100.100.100.200/32", "224.0.0.0/4", "::/0", "::1/128", "fe80::/64"].map((cidr) => (
    { fault: `addresses that are nobody's, ${cidr}`, bad: allowing({ addresses: [cidr] }), says: ["addresses[0]", `"${cidr}"`, "nobody's requests go there"] }
  )),
  { fault: "a credential without hosts", bad: credentialed({ hosts: undefined }), says: ["spec.credentials[0].hosts", "Required value"] },
  { fault: "a credential for no host", bad: credentialed({ hosts: [] }), says: ["spec.credentials[0].hosts", "at least 1"] },
  { fault: "a credential for a host that is not allowed", bad: credentialed({ hosts: ["other.example.com"] }), says: ["spec", "credentials[].hosts names a host that network.allowedHosts does not have", "letter for letter"] },
  { fault: "a credential in the manifest itself", bad: credentialed({ value: "not-a-key" }), says: ['unknown field "spec.credentials[0].value"'] },
  { fault: "a credential of no Secret", bad: credentialed({ secretKeyRef: undefined }), says: ["spec.credentials[0].secretKeyRef", "Required value"] },
  { fault: "a credential in a header of the connection", bad: credentialed({ inject: { header: "HOST" } }), says: ["spec.credentials[0].inject.header", '"HOST"', "not about the connection itself, e.g. Authorization"] },
  { fault: "a credential in a header with a colon", bad: credentialed({ inject: { header: "X-Key:" } }), says: ["inject.header", '"X-Key:"', "a header's name, e.g. Authorization"] },
  { fault: "a format without its value", bad: credentialed({ inject: { format: "Bearer" } }), says: ["spec.credentials[0].inject.format", '"Bearer"', "{value} where the credential belongs"] },
  { fault: "a format with a line of its own", bad: credentialed({ inject: { format: "Bearer {value}\r\nX-Admin: yes" } }), says: ["inject.format", "in ASCII"] },
  { fault: "a format that ends in a space", bad: credentialed({ inject: { format: "Bearer {value} " } }), says: ["inject.format", "no space at its ends"] },
  { fault: "a format and a user name", bad: credentialed({ inject: { format: "{value}", basicUsername: "me" } }), says: ["spec.credentials[0].inject", "at most one of format and basicUsername"] },
  { fault: "a user name with a colon", bad: credentialed({ inject: { basicUsername: "me:you" } }), says: ["spec.credentials[0].inject.basicUsername", '"me:you"', "without a colon"] },
  { fault: "the same credential twice", bad: credentialed({}, {}), says: ["spec.credentials[1]", "Duplicate value"] },
  { fault: "nine credentials", bad: credentialed(...Array.from({ length: 9 }, (_, i) => ({ name: `c${i}` }))), says: ["spec.credentials", "Too many: 9", "at most 8"] },
  { fault: "authorities from a key that is none", bad: buildEnvironment("e", { spec: { network: { caBundle: { configMapKeyRef: { name: "roots", key: "a/b" } } } } }), says: ["spec.network.caBundle.configMapKeyRef.key", '"a/b"', "key of a ConfigMap"] },
  { fault: "an enforcement that does not exist", bad: buildEnvironment("e", { spec: { network: { enforcement: "Off" } } }), says: ["spec.network.enforcement", '"Off"', '"Verified", "Unverified"'] },
  { fault: "a persistence that does not exist", bad: working({ persistence: "Always" }), says: ["spec.sandbox.workspace.persistence", '"Always"', '"Ephemeral", "Session"'] },
  { fault: "a storage class for no volume", bad: working({ storageClassName: "fast" }), says: ["spec.sandbox.workspace", "storageClassName goes with persistence: Session"] },
  { fault: "a storage class that is no name", bad: working({ persistence: "Session", storageClassName: "Fast SSD" }), says: ["spec.sandbox.workspace.storageClassName", '"Fast SSD"', "lower-case letters"] },
  { fault: "user namespaces in words", bad: buildEnvironment("e", { spec: { sandbox: { userNamespaces: "yes" } } }), says: ["spec.sandbox.userNamespaces", "must be of type boolean"] },
  { fault: "a time limit over a week", bad: buildEnvironment("e", { spec: { limits: { timeoutSeconds: 604801 } } }), says: ["spec.limits.timeoutSeconds", "604801", "less than or equal to 604800"] },
  { fault: "a field of a later release", bad: buildEnvironment("e", { spec: { warmPool: { runners: 1 } } }), says: ['unknown field "spec.warmPool"'] },
  { fault: "a label key with a space", bad: reaching({ ports: [80], podSelector: { matchLabels: { "my app": "x" } } }), says: ["podSelector.matchLabels", "keys such as app or app.kubernetes.io/name"] },
];

/** Of the longest of everything: what the API server would spend on rules is bounded by it. */
const MOST_HOSTS = Array.from({ length: 64 }, (_, i) => ({
  host: `${"h".repeat(60)}.${"i".repeat(60)}.h${i}.example.com`,
  ports: Array.from({ length: 16 }, (__, port) => port + 1),
  methods: Array.from({ length: 16 }, (__, length) => `M${"A".repeat(length)}`),
  paths: Array.from({ length: 16 }, (__, index) => `/${"a".repeat(500)}${index}`),
  addresses: Array.from({ length: 8 }, (__, index) => `10.${index}.0.0/16`),
}));

const environmentsThatAre: Readonly<Record<string, object>> = {
  "hosts, domains and Services": { network: { allowedHosts: ["api.example.com", "*.example.com", "xn--bcher-kva.example", "git.tools.svc", "git.tools.svc.cluster.local"].map((host) => ({ host })) } },
  "ports, methods, paths and addresses": { network: { allowedHosts: [{ host: "git.example.com", ports: [443, 8443], methods: ["GET", "POST"], paths: ["/", "/repos/acme", "/a/", "/.well-known/x", "/..."], addresses: ["10.20.0.0/16", "fd00:20::/64", "100.64.0.0/10", "192.0.2.7/32"] }] } },
  "credentials in headers of all kinds": {
    network: { allowedHosts: [{ host: "api.example.com" }, { host: "*.example.org" }] },
    credentials: [
      { name: "plain", secretKeyRef: { name: "s", key: "k" }, hosts: ["api.example.com", "*.example.org"] },
      { name: "header", secretKeyRef: { name: "s", key: "k" }, hosts: ["api.example.com"], methods: ["GET"], paths: ["/v1"], inject: { header: "X-Api-Key", format: "token {value}" } },
      { name: "basic", secretKeyRef: { name: "s", key: "k" }, hosts: ["api.example.com"], inject: { basicUsername: "x-access-token" } },
    ],
  },
  "authorities of its own, and enforcement that nobody verifies": { network: { caBundle: { configMapKeyRef: { name: "roots", key: "roots.pem" } }, enforcement: "Unverified" } },
  "a workspace on a volume larger than the storage of its pod": { sandbox: { workspace: { size: "9Gi", persistence: "Session", storageClassName: "fast" }, resources: { limits: { "ephemeral-storage": "1Gi" } } } },
};

const theMostOfEverything: object = {
  network: { allowedHosts: MOST_HOSTS, caBundle: { configMapKeyRef: { name: "c", key: "k" } } },
  credentials: Array.from({ length: 8 }, (_, i) => ({ name: `c${i}`, secretKeyRef: { name: "s", key: "k" }, hosts: MOST_HOSTS.slice(56).map(({ host }) => host), paths: MOST_HOSTS[0]?.paths, methods: MOST_HOSTS[0]?.methods, inject: { header: "A".repeat(64), format: `${"x".repeat(200)}{value}` } })),
};

const sessionCases: readonly Case[] = [
  { fault: "an unknown field", bad: buildSession("s", "go", { spec: { promt: "x" } }), says: ['unknown field "spec.promt"'] },
  { fault: "no Agent", bad: buildSession("s", "go", { spec: { agentRef: undefined } }), says: ["spec.agentRef", "Required value"] },
  { fault: "an empty reference", bad: buildSession("s", "go", { spec: { environmentRef: {} } }), says: ["spec.environmentRef.name", "Required value"] },
  { fault: "a reference that is no name", bad: buildSession("s", "go", { agent: "My Agent" }), says: ["spec.agentRef.name", '"My Agent"', "lower-case letters"] },
  { fault: "an empty prompt", bad: buildSession("s", ""), says: ["spec.prompt", "at least 1"] },
  { fault: "a prompt over 96 KiB", bad: buildSession("s", "x".repeat(98305)), says: ["spec.prompt", "longer than 98304 characters", "use promptFrom"] },
  { fault: "a file outside the workspace", bad: buildSession("s", "go", { spec: { files: [{ path: "../etc/passwd", configMapKeyRef: { name: "m", key: "k" } }] } }), says: ["spec.files[0].path", '"../etc/passwd"', "no .. and no / at the start"] },
  { fault: "a file with a space", bad: buildSession("s", "go", { spec: { files: [{ path: "my notes.md", configMapKeyRef: { name: "m", key: "k" } }] } }), says: ["spec.files[0].path", '"my notes.md"', "letters, digits"] },
  { fault: "a prompt with NUL", bad: buildSession("s", `a${NUL}b`), says: ["spec.prompt", "NUL character"] },
  { fault: "a negative limit", bad: buildSession("s", "go", { spec: { limits: { timeoutSeconds: -1 } } }), says: ["spec.limits.timeoutSeconds", "-1", "greater than or equal to 1"] },
  { fault: "a duration in words", bad: buildSession("s", "go", { spec: { limits: { timeoutSeconds: "15m" } } }), says: ["spec.limits.timeoutSeconds", "must be of type integer"] },
];

const scheduleCases: readonly Case[] = [
  { fault: "a zone in the expression", bad: buildSchedule("c", { schedule: "TZ=Europe/Berlin 30 6 * * *" }), says: ["spec.schedule", "use spec.timeZone"] },
  { fault: "minute 61", bad: buildSchedule("c", { schedule: "61 6 * * *" }), says: ["spec.schedule", '"61 6 * * *"', "minute 61 is outside 0–59"] },
  { fault: "hour 24", bad: buildSchedule("c", { schedule: "0 24 * * *" }), says: ["spec.schedule", "hour 24 is outside 0–23"] },
  { fault: "day of month 0", bad: buildSchedule("c", { schedule: "0 0 0 * *" }), says: ["spec.schedule", "day of month 0 is outside 1–31"] },
  { fault: "month 13", bad: buildSchedule("c", { schedule: "0 0 1 13 *" }), says: ["spec.schedule", "month 13 is outside 1–12"] },
  { fault: "day of week 8", bad: buildSchedule("c", { schedule: "0 0 * * 8" }), says: ["spec.schedule", "day of week 8 is outside 0–7"] },
  { fault: "six fields", bad: buildSchedule("c", { schedule: "0 30 6 * * *" }), says: ["spec.schedule", "write the five fields of cron"] },
  { fault: "a day that no year has", bad: buildSchedule("c", { schedule: "0 0 30,31 FEB *" }), says: ["spec.schedule", '"0 0 30,31 FEB *"', "never fires"] },
  { fault: "the 31st of short months", bad: buildSchedule("c", { schedule: "0 6 31 4,Jun,09 *" }), says: ["spec.schedule", "never fires, because no year has such a day"] },
  { fault: "a nickname", bad: buildSchedule("c", { schedule: "@daily" }), says: ["spec.schedule", '"@daily"', "write the five fields of cron"] },
  { fault: "a zone with spaces", bad: buildSchedule("c", { timeZone: "New York" }), says: ["spec.timeZone", '"New York"', "such as Europe/Berlin"] },
  { fault: "a policy that does not exist", bad: buildSchedule("c", { concurrencyPolicy: "Skip" }), says: ["spec.concurrencyPolicy", '"Skip"', '"Allow", "Forbid", "Replace"'] },
  { fault: "a template without prompt", bad: buildSchedule("c", { sessionTemplate: { spec: { agentRef: { name: "a" }, environmentRef: { name: "e" } } } }), says: ["spec.sessionTemplate.spec", "write exactly one of prompt and promptFrom"] },
];

const approvalCases: readonly Case[] = [
  { fault: "a digest that is none", bad: buildApproval("p", { fingerprint: "sha256:abc" }), says: ["spec.fingerprint", '"sha256:abc"', "64 lower-case hexadecimal digits"] },
  { fault: "no session", bad: buildApproval("p", { sessionRef: undefined }), says: ["spec.sessionRef", "Required value"] },
  { fault: "a time in words", bad: buildApproval("p", { expiresAt: "tomorrow" }), says: ["spec.expiresAt", '"tomorrow"', "date-time"] },
  { fault: "an unknown field", bad: buildApproval("p", { approved: true }), says: ['unknown field "spec.approved"'] },
];

const kinds: readonly { readonly kind: string; readonly good: object; readonly cases: readonly Case[] }[] = [
  { kind: "Agent", good: buildAgent("a"), cases: agentCases },
  { kind: "Environment", good: buildEnvironment("e"), cases: environmentCases },
  { kind: "Session", good: buildSession("s", "go"), cases: sessionCases },
  { kind: "Schedule", good: buildSchedule("c"), cases: scheduleCases },
  { kind: "Approval", good: buildApproval("p"), cases: approvalCases },
];

const operator = await openOperator();
await grant(namespace, operator, [{ apiGroups: ["paddock.dev"], resources: ["approvals"], verbs: ["create", "get", "patch"] }]);

describe("a manifest with a fault", () => {
  for (const { kind, good, cases } of kinds) {
    for (const { fault, bad, says } of cases) {
      it(`${kind}: ${fault}`, async () => {
        await refuses(bad, says);
      });
    }
    it(`${kind}: is accepted once it is right`, async () => {
      await accepts(good);
    });
  }

  for (const [what, spec] of Object.entries(environmentsThatAre)) {
    it(`Environment: is accepted with ${what}`, async () => {
      await accepts(buildEnvironment("full", { spec }));
    });
  }

  it("Environment: is accepted with the most of everything, which the API server can afford to check", async () => {
    // Not applied: kubectl would keep a copy in an annotation, which is too long for one.
    const { code, stderr } = await kubectl(["create", "--dry-run=server", "-n", namespace, "-f", "-"], { input: JSON.stringify(buildEnvironment("most", { spec: theMostOfEverything })) });
    assert.equal(code, 0, stderr);
  });

  it("Session: an edit is refused, whichever field it changes, adds or removes", async () => {
    await accepts(buildSession("edited", "go"));
    await refuses(buildSession("edited", "stop"), ["spec", "field is immutable; create a new Session", "changing prompt"]);
    await refuses(buildSession("edited", "go", { agent: "other" }), ["field is immutable; create a new Session", "changing agentRef"]);
    await refuses(buildSession("edited", "go", { spec: { limits: { maxTurns: 1 } } }), ["field is immutable; create a new Session", "changing limits"]);
    await accepts(buildSession("limited", "go", { spec: { limits: { maxTurns: 1 } } }));
    await refuses(buildSession("limited", "go"), ["field is immutable; create a new Session", "changing limits"]);
  });

  it("Session: cancel is accepted and cannot be undone", async () => {
    await accepts(buildSession("cancelled", "go", { spec: { cancel: false } }));
    await accepts(buildSession("cancelled", "go", { spec: { cancel: true } }));
    await refuses(buildSession("cancelled", "go", { spec: { cancel: false } }), ["spec.cancel", "cannot be undone", "create a new Session"]);
    await refuses(buildSession("cancelled", "go"), ["spec.cancel", "cannot be undone"]);
  });

  it("Approval: what the decision is about cannot be edited", async () => {
    await accepts(buildApproval("written"));
    await refuses(buildApproval("written", { tool: "read" }), ["spec", "field is immutable", "only status.decision"]);
  });

  it("Approval: a decision that does not exist is refused, a right one is taken", async () => {
    await accepts(buildApproval("decided"));
    const { username } = (JSON.parse(await must(["auth", "whoami", "-o", "json"])) as { status: { userInfo: { username: string } } }).status.userInfo;
    const decide = (decision: string) => {
      const status = { decision: { decision, decidedBy: username, at: "2026-11-21T12:30:00Z" } };
      return kubectl(["patch", "approval", "decided", "-n", namespace, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
    };
    const refusal = await decide("Maybe");
    assert.notEqual(refusal.code, 0);
    assertSays(refusal.stderr, ["status.decision.decision", '"Maybe"', '"Approved", "Denied"']);
    const { code, stderr } = await decide("Approved");
    assert.equal(code, 0, stderr);
  });

  it("Environment: an endpoint in the cluster that no peer allows is told by the condition, and the fix is taken in", async () => {
    await accepts(buildEnvironment("unreachable", { spec: { network: {} } }));
    const refused = await readinessOf("unreachable", "InvalidReference");
    assert.equal(refused.status, "False");
    assertSays(refused.message, ["spec.models[default].baseURL", "scripted-model", "spec.network.inCluster"]);
    await accepts(buildEnvironment("unreachable"));
    assert.equal((await readinessOf("unreachable", "Available")).status, "True");
  });

  it("Environment: a runtime class that the cluster does not have is told by the condition, and the fix is taken in", async () => {
    await accepts(buildEnvironment("classy", { spec: { sandbox: { runtimeClassName: "no-such-class" } } }));
    const refused = await readinessOf("classy", "RuntimeClassNotFound");
    assertSays(refused.message, ["spec.sandbox.runtimeClassName", "no-such-class", "kubectl get runtimeclasses"]);
    await accepts(buildEnvironment("classy"));
    assert.equal((await readinessOf("classy", "Available")).status, "True");
  });

  it("Environment: a priority class that the cluster does not have is told by the condition, and the fix is taken in", async () => {
    await accepts(buildEnvironment("urgent", { spec: { scheduling: { priorityClassName: "no-such-class" } } }));
    const refused = await readinessOf("urgent", "PriorityClassNotFound");
    assertSays(refused.message, ["spec.scheduling.priorityClassName", "no-such-class", "kubectl get priorityclasses"]);
    await accepts(buildEnvironment("urgent"));
    assert.equal((await readinessOf("urgent", "Available")).status, "True");
  });

  it("Environment: a network policy that opens its pods is told by name, and it recovers when the policy leaves them out", async () => {
    await accepts(buildEnvironment("opened"));
    await readinessOf("opened", "Available");
    await accepts(buildOpenPolicy([]));
    const refused = await readinessOf("opened", "NetworkPolicyConflict");
    assertSays(refused.message, ["allow-same-namespace", "paddock.dev/component", "DoesNotExist", "kubectl edit networkpolicy"]);
    await accepts(buildOpenPolicy([{ key: "paddock.dev/component", operator: "DoesNotExist" }]));
    assert.equal((await readinessOf("opened", "Available")).status, "True");
  });

  it("text that is not UTF-8 is refused", async () => {
    const text = Buffer.from(JSON.stringify(buildSession("latin", "caf#")));
    text[text.lastIndexOf("#")] = 0xe9;
    const { code, stderr } = await kubectl(["apply", "-n", namespace, "-f", "-"], { input: text });
    assert.notEqual(code, 0);
    assertSays(stderr, ["spec.prompt", "not UTF-8"]);
  });
});

/** The condition Ready of an Environment once it has the reason. */
async function readinessOf(name: string, reason: string): Promise<Condition> {
  return eventually(`Environment ${name} with reason ${reason}`, async () => {
    const environment = await get<Environment>("environment", name, namespace);
    return environment?.status?.conditions?.find((condition) => condition.type === "Ready" && condition.reason === reason);
  });
}

async function refuses(object: object, says: readonly string[]): Promise<void> {
  const { code, stderr } = await applied(object);
  assert.notEqual(code, 0, "the API server accepted it");
  assertSays(stderr, says);
}

async function accepts(object: object): Promise<void> {
  const { code, stderr } = await applied(object);
  assert.equal(code, 0, stderr);
}

/** Approvals are the operator's to make. */
function applied(object: object): Promise<Output> {
  const args = ["apply", "-n", namespace, "-f", "-"];
  return "kind" in object && object.kind === "Approval" ? operator.kubectl(args, object) : kubectl(args, { input: JSON.stringify(object) });
}

function assertSays(answer: string, says: readonly string[]): void {
  for (const text of says) assert.ok(answer.includes(text), `expected ${JSON.stringify(text)} in: ${answer.slice(0, 1500)}`);
}

function clientTool(change: object): object {
  return buildAgent("a", { customTools: [{ name: "post_note", description: "Posts a note.", inputSchema: { type: "object" }, ...change }] });
}

function duplicateModel(): object {
  const model = { name: "default", model: "m", baseURL: "https://api.example.com/v1" };
  return buildEnvironment("e", { spec: { models: [model, model] } });
}

function priced(inputPerMillion: string): object {
  return buildEnvironment("e", { model: { pricing: { inputPerMillion, outputPerMillion: "1" } } });
}

function limited(limits: object, requests: object = {}): object {
  return buildEnvironment("e", { spec: { sandbox: { resources: { limits, requests } } } });
}

function reaching(peer: object): object {
  return buildEnvironment("e", { spec: { network: { inCluster: [peer] } } });
}

function allowing(change: object): object {
  return buildEnvironment("e", { spec: { network: { allowedHosts: [{ host: "api.example.com", ...change }] } } });
}

function hosted(host: string): object {
  return allowing({ host });
}

function credentialed(...changes: readonly object[]): object {
  const credentials = changes.map((change) => ({ name: "git", secretKeyRef: { name: "git", key: "token" }, hosts: ["api.example.com"], ...change }));
  return buildEnvironment("e", { spec: { network: { allowedHosts: [{ host: "api.example.com" }] }, credentials } });
}

function working(workspace: object): object {
  return buildEnvironment("e", { spec: { sandbox: { workspace } } });
}

function scheduled(scheduling: object): object {
  return buildEnvironment("e", { spec: { scheduling } });
}

function tolerating(toleration: object): object {
  return scheduled({ tolerations: [toleration] });
}

/** What tenants commonly write: everything in the namespace may talk to everything. */
function buildOpenPolicy(matchExpressions: readonly object[]): object {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "allow-same-namespace" },
    spec: { podSelector: { matchExpressions }, policyTypes: ["Ingress"], ingress: [{ from: [{ podSelector: {} }] }] },
  };
}
