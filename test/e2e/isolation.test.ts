import assert from "node:assert/strict";
import { before, test } from "node:test";
import { GATEWAY_AUDIENCE } from "@paddock/api/names";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, runningPod } from "./lab.ts";
import type { Pod } from "./lab.ts";
import { get, list, must } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { processesOf } from "./processes.ts";
import { buildReachProgram, reachOfOrdinaryPod } from "./reach.ts";
import type { Reach, Target } from "./reach.ts";
import { openSink } from "../cluster/sink.ts";

let namespace: string;

async function clusterIp(service: string, serviceNamespace: string): Promise<string> {
  return (await must(["get", "service", service, "-n", serviceNamespace, "-o", "jsonpath={.spec.clusterIP}"])).trim();
}

before(async () => {
  namespace = await openNamespace("isolation");
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
});

/** Runs one bash command as the model would and returns what it printed. */
async function runInSandbox(session: string, command: string): Promise<string> {
  await deployModel(namespace, { [session]: [call("bash", { command }), say("{{lastToolResult}}")] });
  await apply(namespace, buildSession(session, session));
  const { status } = await finished(namespace, session);
  return status?.result?.text ?? "";
}

test("the sandbox reaches nothing that an ordinary pod beside it reaches", async (t) => {
  await deployModel(namespace, {});
  const victim = (await list<Pod>("pods", namespace, "app=scripted-model"))[0]?.status.podIP;
  assert.ok(victim);
  const sink = await openSink();
  t.after(() => sink?.close());
  const gatewayPod = (await list<Pod>("pods", "paddock-system")).find(({ metadata }) => metadata.name.startsWith("paddock-gateway"))?.status.podIP;
  assert.ok(gatewayPod);
  const targets: Target[] = [
    { name: "API server", host: await clusterIp("kubernetes", "default"), port: 443 },
    { name: "another pod", host: victim, port: 8080 },
    { name: "another pod by its Service", host: await clusterIp("scripted-model", namespace), port: 8080 },
    { name: "cluster DNS", host: await clusterIp("kube-dns", "kube-system"), port: 53 },
    ...(sink?.targets ?? []),
  ];
  const ordinary = await reachOfOrdinaryPod(namespace, "ordinary", targets);
  assert.deepEqual(ordinary.reach, Object.fromEntries(targets.map(({ name }) => [name, "open"])), "positive control: each is open to an ordinary pod");

  const all = [...targets, { name: "gateway", host: gatewayPod, port: 8443 }];
  const program = buildReachProgram(all);
  const printed = await runInSandbox("reach", `node -e '${program.replaceAll("'", `'"'"'`)}'`);
  const line = /\{.*\}/.exec(printed)?.[0];
  assert.ok(line, printed);
  assert.deepEqual(JSON.parse(line) as Record<string, Reach>, Object.fromEntries(all.map(({ name }) => [name, "silent"])));
  if (sink === undefined) return t.diagnostic("this cluster has no sink: internet and metadata service were not probed");
  assert.ok(sink.seenFrom(ordinary.address).length >= sink.targets.length, "control: the sink sees who reaches it");
  assert.deepEqual(sink.seenFrom(ordinary.address), sink.seen(), "the sink saw nobody else");
});

test("the sandbox holds no token, no secret and no resolver", async () => {
  const printed = await runInSandbox(
    "look",
    "ls /var/run/secrets /run/secrets /run/paddock 2>&1; echo ---; cat /etc/resolv.conf; echo ---; env; echo ---; cat /proc/1/environ | tr '\\0' '\\n'; echo ---; getent hosts kubernetes.default.svc || echo unresolved; id -u; touch /x 2>&1",
  );
  assert.doesNotMatch(printed, /serviceaccount|token/i);
  assert.match(printed, /nameserver 127\.0\.0\.1/);
  assert.match(printed, /unresolved/);
  // The kubelet sets the API server's address in every pod (KUBERNETES_…): no secret, and no packet gets there.
  assert.doesNotMatch(printed, /_KEY|SECRET|PASSWORD|TOKEN/);
  assert.match(printed, /^10001$/m);
  assert.match(printed, /Read-only file system/);
});

test("the sandbox pod's spec: no volume from the API, no service account token, and of the cluster no more than its node's address", async () => {
  await deployModel(namespace, { hold: [call("bash", { command: "sleep 600" }), say("late")] });
  await apply(namespace, buildSession("hold", "hold"));
  const pod = await runningPod(namespace, "hold", "sandbox");
  assert.equal(pod.spec.automountServiceAccountToken, false);
  for (const volume of pod.spec.volumes ?? []) assert.ok("emptyDir" in volume, JSON.stringify(volume));
  for (const variable of pod.spec.containers.flatMap(({ env }) => env ?? [])) if ("valueFrom" in variable) assert.equal((variable.valueFrom as { fieldRef?: { fieldPath: string } }).fieldRef?.fieldPath, "status.hostIP", JSON.stringify(variable));
});

test("the runner runs nothing but the harness while a command of the model runs in the sandbox", async (t) => {
  const [runner, sandbox] = [await runningPod(namespace, "hold", "runner"), await runningPod(namespace, "hold", "sandbox")];
  await eventually("the command in the sandbox", () => Promise.resolve(sandboxCommands(sandbox).some((command) => command.includes("sleep 600"))));
  t.diagnostic(`in the sandbox: ${sandboxCommands(sandbox).join(" | ")}`);
  assert.deepEqual(processesOf(runner.metadata.uid).map(({ command }) => command), ["node runner-image/src/main.ts"]);
});

function sandboxCommands(pod: Pod): string[] {
  return processesOf(pod.metadata.uid).map(({ command }) => command);
}

test("the runner's token is good for the gateway only, for ten minutes, for this pod", async () => {
  const runner = await runningPod(namespace, "hold", "runner");
  const token = await must(["exec", runner.metadata.name, "-n", namespace, "--", "node", "-e", 'process.stdout.write(require("node:fs").readFileSync("/run/paddock/token/token", "utf8"))']);
  const review = async (audiences: readonly string[]): Promise<{ authenticated?: boolean; user?: { extra?: Record<string, string[]> } }> => {
    const input = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences } });
    return (JSON.parse(await must(["create", "-f", "-", "-o", "json"], { input })) as { status: { authenticated?: boolean; user?: { extra?: Record<string, string[]> } } }).status;
  };
  const atGateway = await review([GATEWAY_AUDIENCE]);
  assert.equal(atGateway.authenticated, true, "control: the gateway's audience is accepted");
  assert.deepEqual(atGateway.user?.extra?.["authentication.kubernetes.io/pod-uid"], [runner.metadata.uid]);
  assert.ok((await review([])).authenticated !== true, "the API server does not take it");
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { exp: number; iat: number; aud: string[] };
  assert.deepEqual(claims.aud, [GATEWAY_AUDIENCE]);
  assert.ok(claims.exp - claims.iat <= 600, `${claims.exp - claims.iat} s`);
});

test("the runner accepts no connection: packets to it get no answer, while an ordinary pod answers with a refusal", async () => {
  const runner = await runningPod(namespace, "hold", "runner");
  const model = (await list<Pod>("pods", namespace, "app=scripted-model"))[0];
  assert.ok(runner.status.podIP !== undefined && model?.status.podIP !== undefined);
  const runnerTargets = [8080, 8443, 3128, 9090].map((port) => ({ name: `runner ${port}`, host: runner.status.podIP ?? "", port }));
  const { reach } = await reachOfOrdinaryPod(namespace, "knocker", [...runnerTargets, { name: "closed port of an ordinary pod", host: model.status.podIP, port: 9 }]);
  assert.equal(reach["closed port of an ordinary pod"], "refused", "positive control");
  for (const { name } of runnerTargets) assert.equal(reach[name], "silent", name);
  const sandbox = await runningPod(namespace, "hold", "sandbox");
  const toSandbox = await reachOfOrdinaryPod(namespace, "sandbox-knocker", [{ name: "tool server", host: sandbox.status.podIP ?? "", port: 8080 }]);
  assert.equal(toSandbox.reach["tool server"], "silent", "only runners of the Environment may connect to a sandbox");
  await must(["delete", "session", "hold", "-n", namespace]);
});

test("policies exist before pods: deleting one brings it back", async () => {
  const policies = await list<{ metadata: { name: string; uid: string } }>("networkpolicies", namespace);
  assert.ok(policies.length >= 3, "baseline, runner and sandbox");
  for (const { metadata } of policies) await must(["delete", "networkpolicy", metadata.name, "-n", namespace]);
  for (const { metadata } of policies) {
    await eventually(`policy ${metadata.name} to be made again`, async () => {
      const next = await get<{ metadata: { uid: string } }>("networkpolicy", metadata.name, namespace);
      return next !== undefined && next.metadata.uid !== metadata.uid;
    });
  }
});
