import assert from "node:assert/strict";
import { join } from "node:path";
import { before, test } from "node:test";
import type { Session } from "@paddock/api/session";
import { eventually, finished, podsOf, reasonOf } from "./lab.ts";
import type { Pod } from "./lab.ts";
import { get, kubectl, must } from "./kubectl.ts";

const examples = join(import.meta.dirname, "../../examples");
const NAMESPACE = "default";

async function apply(example: string, session: string): Promise<void> {
  await kubectl(["delete", "session", session, "-n", NAMESPACE, "--ignore-not-found"]);
  await must(["apply", "-f", join(examples, example)]);
}

before(async () => {
  // A person applies a folder whole: the namespace holds nothing of an earlier run.
  await kubectl(["delete", "session", "hello", "workspace", "fetch", "-n", NAMESPACE, "--ignore-not-found"]);
});

test("01-hello: the agent answers and the Session says so", async () => {
  await apply("01-hello", "hello");
  const session = await finished(NAMESPACE, "hello");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.ok((session.status?.result?.text ?? "").length > 0);
  assert.equal(session.status?.turns, 1);
  assert.equal(session.status.runner?.attempts, 1);
  assert.match(session.status.trace?.id ?? "", /^[0-9a-f]{32}$/);
  assert.ok(Number(session.status.usage?.costUSD) > 0, "pricing is given, so cost is known");
  assert.equal((await podsOf(NAMESPACE, "hello", "sandbox")).length, 0, "no tool, no sandbox");
});

test("02-workspace: a program is written, run in the sandbox and its output reported", async (t) => {
  await apply("02-workspace", "workspace");
  const seen = new Set<string>();
  const watching = eventually("a runner and a sandbox pod side by side", async () => {
    for (const component of ["runner", "sandbox"] as const) {
      if ((await podsOf(NAMESPACE, "workspace", component)).some(({ status }: Pod) => status.phase === "Running")) seen.add(component);
    }
    return seen.size === 2;
  });
  const session = await finished(NAMESPACE, "workspace");
  await watching;

  await t.test("status tells the run", () => {
    const { status } = session;
    assert.ok(status?.recentSteps && status.result && status.trace, JSON.stringify(status));
    assert.equal(reasonOf(session), "Completed");
    assert.equal(status.result.text, "The program printed: 1229 primes below 10000, sum 5736396", "what the program printed in the sandbox");
    assert.equal(status.toolCalls, 2);
    const tools = status.recentSteps.filter(({ kind }) => kind === "tool").map(({ name, outcome }) => `${name}:${outcome}`);
    assert.deepEqual(tools, ["write:ok", "bash:ok"]);
    assert.match(status.trace.id ?? "", /^[0-9a-f]{32}$/);
  });

  await t.test("kubectl get sessions shows the columns", async () => {
    const table = await must(["get", "sessions", "workspace", "-n", NAMESPACE]);
    const [header = "", row = ""] = table.split("\n");
    assert.deepEqual(header.trim().split(/\s+/), ["NAME", "AGENT", "STATUS", "TURNS", "TOKENS", "COST", "AGE"]);
    assert.match(row, /^workspace\s+\S+\s+Completed\s+[1-9][0-9]*\s+[1-9][0-9]*\s+0\.[0-9]+\s+/);
  });

  await t.test("its pods are removed", async () => {
    await eventually("no pod of the session", async () => {
      const left = [...(await podsOf(NAMESPACE, "workspace", "runner")), ...(await podsOf(NAMESPACE, "workspace", "sandbox"))];
      return left.length === 0;
    });
  });

  await t.test("the same manifests applied again change nothing", async () => {
    const before = await get<Session>("session", "workspace", NAMESPACE);
    const { code } = await kubectl(["diff", "-f", join(examples, "02-workspace")]);
    assert.equal(code, 0, "kubectl diff exits 0 when there is no difference");
    await must(["apply", "-f", join(examples, "02-workspace")]);
    const after = await get<Session>("session", "workspace", NAMESPACE);
    assert.equal(after?.metadata.resourceVersion, before?.metadata.resourceVersion);
  });
});

test("05-approval: the command runs once somebody has approved it, as its README says", async () => {
  await kubectl(["delete", "session", "tidy", "-n", NAMESPACE, "--ignore-not-found"]);
  await must(["apply", "-n", NAMESPACE, "-f", join(examples, "05-approval")]);
  await must(["wait", "--for=condition=AwaitingApproval", "--timeout=120s", "session/tidy", "-n", NAMESPACE]);
  assert.match(await must(["get", "approvals", "-n", NAMESPACE]), /tidy-a1-0\s+tidy\s+bash\s+mkdir -p reports/);
  const me = (await must(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])).trim();
  await must(["patch", "approval", "tidy-a1-0", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { decision: { decision: "Approved", decidedBy: me } } })]);
  const session = await finished(NAMESPACE, "tidy");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.match(session.status?.result?.text ?? "", /removed 'reports\/2024\.txt'/);
});

test("06-egress: the listed host answers and the other is refused, in a sandbox that was proven to be closed", async () => {
  await apply("06-egress", "fetch");
  const session = await finished(NAMESPACE, "fetch");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  const text = session.status?.result?.text ?? "";
  assert.match(text, /The notice board says: Tea is at four\./);
  assert.match(text, /Paddock refused example\.com:8080: .*Environment egress .*spec\.network\.allowedHosts/);
  const isolated = session.status?.conditions?.find(({ type }) => type === "Isolated");
  assert.deepEqual([isolated?.status, isolated?.reason], ["True", "Proven"], JSON.stringify(isolated));
});

test("kubectl explain reads well", async () => {
  const text = await must(["explain", "session.status.usage"]);
  assert.match(text, /usage is what the session has consumed so far/);
  for (const field of ["inputTokens", "cachedInputTokens", "outputTokens", "totalTokens", "costUSD"]) assert.match(text, new RegExp(`${field}\\s+<`));
});
