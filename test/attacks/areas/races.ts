import { LABELS } from "@paddock/api/names";
import { assertSinkOwns } from "../../cluster/sink.ts";
import { kubectl, list, must } from "../../e2e/kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, runningPod } from "../../e2e/lab.ts";
import type { Pod } from "../../e2e/lab.ts";
import { deployModel } from "../../e2e/model.ts";
import type { Attack, Outcome } from "../attack.ts";
import { ensureAttackImage } from "../image.ts";
import { PROMPTS, SCRIPTS } from "../stage.ts";
import type { Stage } from "../stage.ts";
import { packetsAtSink } from "../sink-count.ts";

// Sandboxes that shoot from their first instruction to their last, started several at once, ended in every way: is there a moment without a policy?

/** Started at once, on two cores. */
const AT_ONCE = 5;
const ENDINGS = ["the session ends", "the session is deleted", "the Environment is deleted", "the namespace is deleted"] as const;
type Ending = (typeof ENDINGS)[number];

async function imageOf({ sink }: Stage): Promise<string> {
  if (sink === undefined) throw new Error("there is no sink to shoot at");
  await assertSinkOwns(sink.internet.host);
  return ensureAttackImage("shooter", [sink.internet.host, String(sink.internet.port)]);
}

interface Volley {
  readonly namespace: string;
  readonly environment: string;
  readonly sessions: readonly string[];
  readonly ending: Ending;
}

async function openVolleyNamespace(stage: Stage, number: number): Promise<string> {
  const namespace = `${stage.namespace}-volley-${number}`;
  await must(["create", "namespace", namespace]);
  await deployModel(namespace, SCRIPTS);
  await apply(namespace, buildAgent("agent"));
  return namespace;
}

/** Ends what runs; the sandboxes shoot on until they are killed. */
async function end({ namespace, environment, sessions, ending }: Volley): Promise<void> {
  if (ending === "the session ends") {
    await Promise.all(sessions.map((name) => finished(namespace, name, 240)));
    return;
  }
  await Promise.all(sessions.map((name) => runningPod(namespace, name, "sandbox")));
  if (ending === "the session is deleted") await must(["delete", "session", ...sessions, "-n", namespace, "--wait=false"]);
  if (ending === "the Environment is deleted") await must(["delete", "environment", environment, "-n", namespace, "--wait=false"]);
  if (ending === "the namespace is deleted") await must(["delete", "namespace", namespace, "--wait=false"]);
}

const sandboxes = `${LABELS.component}=sandbox`;

async function clear({ namespace, sessions, environment, ending }: Volley): Promise<void> {
  if (ending === "the Environment is deleted") await kubectl(["delete", "session", ...sessions, "-n", namespace, "--ignore-not-found", "--wait=false"]);
  await eventually(`the sandboxes of ${environment} to be gone`, async () => (await list<Pod>("pods", namespace, `${sandboxes},${LABELS.environment}=${environment}`)).length === 0, 120);
}

async function fire(stage: Stage, image: string, number: number, count: number): Promise<void> {
  const ending = ENDINGS[number % ENDINGS.length] ?? "the session ends";
  const namespace = ending === "the namespace is deleted" ? await openVolleyNamespace(stage, number) : stage.namespace;
  const volley: Volley = { namespace, environment: `volley-${number}`, sessions: Array.from({ length: count }, (_, index) => `volley-${number}-${index}`), ending };
  const prompt = ending === "the session ends" ? PROMPTS.shoot : PROMPTS.hold;
  const key = namespace === stage.namespace ? { model: { apiKey: { secretKeyRef: { name: "scripted-model-key", key: "value" } } } } : {};
  // In one breath with the Environment: its policies and these pods are made at the same time.
  await apply(namespace, buildEnvironment(volley.environment, { ...key, spec: { sandbox: { image } } }), ...volley.sessions.map((name) => buildSession(name, prompt, { environment: volley.environment })));
  await end(volley);
  await clear(volley);
}

/** Fires all volleys, one after the other, and returns what arrived and how many sandboxes shot. */
async function burst(stage: Stage): Promise<{ readonly packets: number; readonly sandboxes: number }> {
  const image = await imageOf(stage);
  const before = await packetsAtSink();
  let started = 0;
  for (let number = 0; started < stage.burst; number += 1) {
    const count = Math.min(AT_ONCE, stage.burst - started);
    await fire(stage, image, number, count);
    started += count;
  }
  return { packets: (await packetsAtSink()) - before, sandboxes: started };
}

/** An ordinary pod of the same image, that shoots the same way until it is deleted. */
async function shootOrdinary(stage: Stage): Promise<Outcome> {
  const { namespace, sink } = stage;
  if (sink === undefined) throw new Error("there is no sink to shoot at");
  const image = await imageOf(stage);
  const before = await packetsAtSink();
  const spec = {
    restartPolicy: "Never", automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, securityContext: { runAsNonRoot: true, runAsUser: 10001 },
    containers: [{ name: "shooter", image, imagePullPolicy: "IfNotPresent", args: ["alone"] }],
  };
  await apply(namespace, { apiVersion: "v1", kind: "Pod", metadata: { name: "shooter" }, spec });
  const pod = await eventually("the ordinary shooter", async () => (await list<Pod>("pods", namespace)).find(({ metadata, status }) => metadata.name === "shooter" && status.podIP !== undefined));
  stage.controls.add(pod.status.podIP ?? "");
  const packets = await eventually("a packet of the ordinary shooter", async () => {
    const more = (await packetsAtSink()) - before;
    return more > 0 && more;
  }, 60).catch(() => 0);
  await must(["delete", "pod", "shooter", "-n", namespace]);
  return { succeeded: packets > 0, how: `an ordinary pod of the same image is seen, ${packets} packets` };
}

export const raceAttacks: readonly Attack[] = [{
  area: "races", name: "packets from a burst of sandboxes, first instruction to last", needs: "the sink",
  attempt: async (stage) => {
    const { packets, sandboxes: shooters } = await burst(stage);
    return { succeeded: packets > 0, how: `${packets} packets of ${shooters} sandboxes` };
  },
  control: shootOrdinary,
}];
