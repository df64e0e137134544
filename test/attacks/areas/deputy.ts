import { API_VERSION } from "@paddock/api/group";
import { ANNOTATIONS } from "@paddock/api/names";
import { grant, openOperator, openServiceAccount, openUser } from "../../e2e/identities.ts";
import type { Identity } from "../../e2e/identities.ts";
import { must } from "../../e2e/kubectl.ts";
import type { Output } from "../../e2e/kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession } from "../../e2e/lab.ts";
import type { Attack, Outcome } from "../attack.ts";
import type { Stage } from "../stage.ts";
import { held } from "./network.ts";

// A tenant who makes the platform use what they may not use. Each is a person with a certificate of their own.

interface Cast {
  /** May write everything of Paddock's, and read no Secret and no ConfigMap. */
  readonly mallory: Identity;
  /** The same, with the right that mallory lacks. */
  readonly trusted: Identity;
  /** May do everything in the namespace. */
  readonly owner: Identity;
  readonly operator: Identity;
}

const DRY_RUN = ["create", "--dry-run=server", "-f", "-"];
const PADDOCK = { apiGroups: ["paddock.dev"], resources: ["agents", "environments", "sessions", "schedules"], verbs: ["get", "list", "create", "update", "patch", "delete"] };
const USE = { apiGroups: ["paddock.dev"], resources: ["environments"], verbs: ["use"] };
const PODS = { apiGroups: [""], resources: ["pods", "pods/exec", "pods/attach", "pods/ephemeralcontainers"], verbs: ["get", "create", "update", "patch"] };
const TOKENS = { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] };

async function castOf(stage: Stage): Promise<Cast & { readonly namespace: string }> {
  return stage.once("cast of deputies", async () => {
    const { namespace } = stage;
    const [mallory, trusted, owner, operator] = await Promise.all([openUser("mallory"), openUser("trusted"), openUser("owner"), openOperator()]);
    await Promise.all([
      grant(namespace, mallory, [PADDOCK, PODS, TOKENS, { ...USE, resourceNames: ["open"] }]),
      grant(namespace, trusted, [PADDOCK, PODS, TOKENS, USE, { apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get"] }]),
      grant(namespace, owner, [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }]),
      grant(namespace, operator, [{ apiGroups: ["paddock.dev"], resources: ["sessions", "sessions/status"], verbs: ["get", "patch"] }]),
    ]);
    await apply(namespace, buildEnvironment("closed", { model: { apiKey: { secretKeyRef: { name: "payroll", key: "value" } } } }), { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "plain" } });
    await must(["create", "-n", namespace, "-f", "-"], { input: JSON.stringify(schedule("theirs", "closed")) });
    await must(["create", "-n", namespace, "-f", "-"], { input: JSON.stringify(buildSession("waiting", "none", { environment: "none-such" })) });
    return { mallory, trusted, owner, operator, namespace };
  });
}

function schedule(name: string, environment: string): object {
  return { apiVersion: API_VERSION, kind: "Schedule", metadata: { name }, spec: { schedule: "0 0 1 1 *", suspend: true, sessionTemplate: { spec: (buildSession("unused", "hi", { environment }) as { spec: object }).spec } } };
}

const outcomeOf = ({ code, stderr, stdout }: Output): Outcome => ({ succeeded: code === 0, how: code === 0 ? "accepted" : (stderr.trim() || stdout.trim()).slice(-300) });
const within = (namespace: string, object: object): object => ({ ...object, metadata: { ...(object as { metadata: object }).metadata, namespace } });

type Who = keyof Cast;
interface Request {
  readonly args: readonly string[];
  readonly input?: object;
}

interface Deed {
  readonly name: string;
  /** Whom the attempt is made as; `trusted` is the control unless `control` says otherwise. */
  readonly as?: Who;
  readonly deed: (namespace: string, stage: Stage) => Request | Promise<Request>;
  /** Another deed or identity that must be accepted. */
  readonly control?: { readonly as?: Who; readonly deed?: (namespace: string) => Request };
}

const create = (object: object) => (namespace: string): Request => ({ args: DRY_RUN, input: within(namespace, object) });
const onNamespace = (...args: readonly string[]) => (namespace: string): Request => ({ args: [...args, "-n", namespace] });
const patch = (what: string, change: object, ...more: readonly string[]) => onNamespace("patch", ...what.split(" "), "--type=merge", "--dry-run=server", "-p", JSON.stringify(change), ...more);

const LABELS = { "paddock.dev/component": "runner", "app.kubernetes.io/managed-by": "paddock" };
const pod = (metadata: object): object => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "mine", ...metadata }, spec: { containers: [{ name: "main", image: "none" }], nodeSelector: { none: "such" } } });
const policy = (metadata: object): object => ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "mine", ...metadata }, spec: { podSelector: {} } });
const secretKeyRef = { name: "payroll", key: "value" };
const hosts = { allowedHosts: [{ host: "api.example.com" }] };
const owned = (kind: string, apiVersion: string): object => ({ metadata: { ownerReferences: [{ apiVersion, kind, name: "theirs", uid: "00000000-0000-0000-0000-000000000000", ...(kind === "Schedule" ? { controller: true } : {}) }] } });

const DEEDS: readonly Deed[] = [
  { name: "an Environment with a model key its author may not get", deed: create(buildEnvironment("steal", { model: { apiKey: { secretKeyRef } } })) },
  { name: "an Environment with a pull secret its author may not get", deed: create(buildEnvironment("steal", { spec: { imagePullSecrets: [{ name: "payroll" }] } })) },
  { name: "an Environment with a credential its author may not get", deed: create(buildEnvironment("steal", { spec: { network: hosts, credentials: [{ name: "c", secretKeyRef, hosts: ["api.example.com"] }] } })) },
  { name: "an Environment with authorities from a ConfigMap its author may not get", deed: create(buildEnvironment("steal", { spec: { network: { caBundle: { configMapKeyRef: { name: "plain", key: "k" } } } } })) },
  { name: "another address for a key that stays", deed: (namespace) => ({ args: ["patch", "environment", "closed", "-n", namespace, "--type=json", "--dry-run=server", "-p", JSON.stringify([{ op: "replace", path: "/spec/models/0/baseURL", value: "http://evil:8080/v1" }])] }) },
  { name: "a Session in an Environment its author may not use", deed: create(buildSession("steal", "hi", { environment: "closed" })) },
  { name: "a Schedule in an Environment its author may not use", deed: create(schedule("steal", "closed")) },
  { name: "the trigger of somebody else's Schedule", deed: onNamespace("annotate", "schedule", "theirs", "--dry-run=server", `${ANNOTATIONS.trigger}=1`) },
  { name: "a Session with a file its author may not get", deed: create(buildSession("steal", "hi", { environment: "open", spec: { files: [{ path: "f", configMapKeyRef: { name: "plain", key: "k" } }] } })) },
  { name: "an Agent with instructions its author may not get", deed: create(buildAgent("steal", { instructions: undefined, instructionsFrom: { configMapKeyRef: { name: "plain", key: "k" } } })) },
  { name: "a pod with the labels of a runner", as: "owner", deed: create(pod({ labels: LABELS })), control: { as: "owner", deed: create(pod({ labels: { "example.com/component": "runner" } })) } },
  { name: "the labels of a runner on a pod that is there", as: "owner", deed: async (namespace, stage) => ({ args: ["label", "pod", (await held(stage, "standard")).sandbox.metadata.name, "-n", namespace, "--overwrite", "--dry-run=server", "paddock.dev/component=runner"] }), control: { as: "owner", deed: onNamespace("label", "configmap", "plain", "--dry-run=server", "paddock.dev/component=runner") } },
  { name: "a network policy in Paddock's name", as: "owner", deed: create(policy({ labels: { "app.kubernetes.io/managed-by": "paddock" } })), control: { as: "owner", deed: create(policy({})) } },
  { name: "status of a Session", as: "owner", deed: patch("session waiting", { status: { observedGeneration: 7 } }, "--subresource=status"), control: { as: "operator" } },
  { name: "a Session that takes a run's place in a Schedule", as: "owner", deed: patch("session waiting", owned("Schedule", API_VERSION)), control: { as: "owner", deed: patch("session waiting", owned("ConfigMap", "v1")) } },
  { name: "a token of the pods' account for the gateway", deed: onNamespace("create", "token", "paddock-pod", "--audience", "paddock-gateway"), control: { as: "mallory", deed: onNamespace("create", "token", "default", "--audience", "paddock-gateway") } },
  { name: "a command in a runner pod without the right to read Secrets", deed: async (namespace, stage) => ({ args: ["exec", (await held(stage, "standard")).runner.metadata.name, "-n", namespace, "--", "node", "-e", "0"] }) },
  {
    name: "a container beside a runner without the right to read Secrets",
    deed: async (namespace, stage) => ({ args: ["patch", "pod", (await held(stage, "standard")).runner.metadata.name, "-n", namespace, "--subresource=ephemeralcontainers", "--dry-run=server", "-p", JSON.stringify({ spec: { ephemeralContainers: [{ name: "peek", image: "evil:1" }] } })] }),
  },
];

async function act(stage: Stage, who: Who, deed: Deed["deed"]): Promise<Outcome> {
  const cast = await castOf(stage);
  const { args, input } = await deed(cast.namespace, stage);
  return outcomeOf(await cast[who].kubectl(args, input));
}

const fromDeed = ({ name, as = "mallory", deed, control = {} }: Deed): Attack => ({
  area: "deputy", name, attempt: (stage) => act(stage, as, deed), control: (stage) => act(stage, control.as ?? "trusted", control.deed ?? deed),
});

/** Nothing refuses it: what is written is not what is kept. */
const stamp: Attack = {
  area: "deputy", name: "a Session in somebody else's name",
  attempt: async (stage) => {
    const { owner, namespace } = await castOf(stage);
    const forged = { ...buildSession("forged", "none", { environment: "none-such" }), metadata: { name: "forged", namespace, annotations: { [ANNOTATIONS.createdBy]: "root" } } };
    const kept = JSON.parse(await owner.must(["create", "-f", "-", "-o", "json"], forged)) as { metadata: { annotations: Record<string, string> } };
    const name = kept.metadata.annotations[ANNOTATIONS.createdBy];
    return { succeeded: name === "root", how: `created by ${name ?? "nobody"}` };
  },
  control: async (stage) => {
    const { owner, namespace } = await castOf(stage);
    const kept = JSON.parse(await owner.must([...DRY_RUN, "-o", "json"], { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "forged", namespace, annotations: { [ANNOTATIONS.createdBy]: "root" } } })) as { metadata: { annotations: Record<string, string> } };
    return { succeeded: kept.metadata.annotations[ANNOTATIONS.createdBy] === "root", how: "kept as written" };
  },
};

const robot: Attack = {
  area: "deputy", name: "Secrets, commands in pods and other names with the operator's own token",
  attempt: async (stage) => {
    const { operator, namespace } = await castOf(stage);
    const rights = [["get", "secrets"], ["create", "pods/exec"], ["update", "pods/ephemeralcontainers"], ["impersonate", "users"], ["create", "rolebindings"], ["get", "nodes"], ["create", "serviceaccounts/token"]];
    const had = (await Promise.all(rights.map(async ([verb = "", what = ""]) => {
      const [resource = "", subresource] = what.split("/");
      const { stdout } = await operator.kubectl(["auth", "can-i", verb, resource, ...(subresource === undefined ? [] : [`--subresource=${subresource}`]), "-n", namespace]);
      return stdout.trim() === "no" ? [] : [`${verb} ${what}`];
    }))).flat();
    return { succeeded: had.length > 0, how: had.join(", ") || "no right" };
  },
  control: async (stage) => {
    await apply(stage.namespace, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "careless" } });
    const careless = await openServiceAccount(stage.namespace, "careless");
    await grant(stage.namespace, careless, [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }]);
    const { stdout } = await careless.kubectl(["auth", "can-i", "get", "secrets", "-n", stage.namespace]);
    return { succeeded: stdout.trim() === "yes", how: "a careless operator may" };
  },
};

export const deputyAttacks: readonly Attack[] = [...DEEDS.map(fromDeed), stamp, robot];
