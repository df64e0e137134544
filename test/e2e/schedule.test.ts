import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { API_VERSION } from "@paddock/api/group";
import { ANNOTATIONS } from "@paddock/api/names";
import type { Schedule } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import { apply, eventually } from "./lab.ts";
import { get, kubectl, list, must } from "./kubectl.ts";
import { openNamespace } from "./namespace.ts";

// Schedules on a real cluster. Their Sessions name an Environment that does not exist, so that they wait and nothing has to run.

const namespace = await openNamespace("schedule");

function buildSchedule(name: string, spec: object = {}, metadata: object = {}): object {
  return {
    apiVersion: API_VERSION,
    kind: "Schedule",
    metadata: { name, ...metadata },
    spec: { schedule: "* * * * *", sessionTemplate: { spec: { agentRef: { name: "none" }, environmentRef: { name: "none" }, prompt: "go" } }, ...spec },
  };
}

const schedule = (name: string): Promise<Schedule | undefined> => get<Schedule>("schedule", name, namespace);
const sessionsOf = (name: string): Promise<Session[]> => list<Session>("sessions", namespace, `paddock.dev/schedule=${name}`);
const trigger = (name: string, value: string): Promise<string> => must(["annotate", "schedule", name, "-n", namespace, "--overwrite", `${ANNOTATIONS.trigger}=${value}`]);

async function ready(name: string, reason: string): Promise<string> {
  return eventually(`${name} to be ${reason}`, async () => (await schedule(name))?.status?.conditions?.find((condition) => condition.type === "Ready" && condition.reason === reason)?.message ?? false, 150);
}

describe("a Schedule on a cluster", () => {
  it("fires within its minute, once, and tells the next time", async () => {
    await apply(namespace, buildSchedule("minutely"));
    await ready("minutely", "Available");
    const announced = (await schedule("minutely"))?.status?.nextScheduleTime ?? "";
    const [session] = await eventually("a session", async () => {
      const made = await sessionsOf("minutely");
      return made.length > 0 && made;
    });
    assert.ok(session);
    const minute = announced.slice(0, 16).replace(/[-T:]/g, "");
    assert.match(session.metadata.name, new RegExp(`^minutely-[0-9a-f]{8}-${minute}$`));
    assert.ok(Date.parse(session.metadata.creationTimestamp) - Date.parse(announced) < 60_000);
    assert.equal(session.metadata.ownerReferences?.[0]?.uid, (await schedule("minutely"))?.metadata.uid);
    await eventually("status to move on", async () => (await schedule("minutely"))?.status?.lastScheduleTime === announced);
  });

  it("does not run two at once under Forbid, and says what it waits for", async () => {
    await eventually("the wait", async () => (await schedule("minutely"))?.status?.conditions?.some(({ type, message }) => type === "Ready" && message.includes("still runs and spec.concurrencyPolicy is Forbid")), 150);
    assert.equal((await sessionsOf("minutely")).length, 1);
    await must(["delete", "schedule", "minutely", "-n", namespace]);
  });

  it("leaves no session when it is deleted", async () => {
    await eventually("the garbage collector", async () => (await sessionsOf("minutely")).length === 0);
  });

  it("fires by annotation once per value, also while suspended", async () => {
    await apply(namespace, buildSchedule("manual", { suspend: true, concurrencyPolicy: "Allow" }));
    await ready("manual", "Suspended");
    assert.equal((await schedule("manual"))?.status?.nextScheduleTime, undefined);
    for (const [value, count] of [["one", 1], ["two", 2]] as const) {
      await trigger("manual", value);
      await eventually(`the run of ${value}`, async () => (await schedule("manual"))?.status?.observedTrigger === value);
      assert.equal((await sessionsOf("manual")).length, count);
    }
  });

  it("keeps as many finished sessions as its limits say", async () => {
    await apply(namespace, buildSchedule("pruned", { suspend: true, concurrencyPolicy: "Allow", failedSessionsHistoryLimit: 1 }));
    for (const value of ["one", "two", "three"]) {
      await trigger("pruned", value);
      await eventually(`the run of ${value}`, async () => (await schedule("pruned"))?.status?.observedTrigger === value);
    }
    for (const { metadata } of await sessionsOf("pruned")) await must(["patch", "session", metadata.name, "-n", namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}']);
    await eventually("one session to be left", async () => (await sessionsOf("pruned")).length === 1);
    await eventually("the last run to be told", async () => (await schedule("pruned"))?.status?.conditions?.some(({ type, reason }) => type === "LastRunSucceeded" && reason === "Failed"));
  });

  it("tells an unknown zone and a day that never comes, and recovers", async () => {
    await apply(namespace, buildSchedule("wrong", { timeZone: "Europe/Berlni", schedule: "0 6 * * *" }));
    assert.match(await ready("wrong", "InvalidSchedule"), /did you mean Europe\/Berlin/);
    await apply(namespace, buildSchedule("wrong", { timeZone: "Europe/Berlin", schedule: "0 6 30-31/1 2 *" }));
    assert.match(await ready("wrong", "NeverFires"), /never fires/);
    await apply(namespace, buildSchedule("wrong", { timeZone: "Europe/Berlin", schedule: "0 6 28 2 *" }));
    await ready("wrong", "Available");
    assert.match((await schedule("wrong"))?.status?.nextScheduleTime ?? "", /-02-28T05:00:00Z$/);
  });

  for (const [fault, spec, says] of [
    ["a minute out of range", { schedule: "1,61 * * * *" }, "minute 61 is outside 0–59"],
    ["a range upside down", { schedule: "0 0 * * FRI-MON" }, "day of week FRI-MON has a range upside down: write the smaller value first"],
    ["Quartz's last day", { schedule: "0 0 L * *" }, "day of month L is outside 1–31"],
    ["a question mark", { schedule: "0 0 ? * 1" }, "day of month ? is outside 1–31: write *"],
    ["Resume of a Task", { sessionMode: "Resume" }, "write sessionTemplate.spec.mode: Conversation"],
    ["a reserved label", { sessionTemplate: { metadata: { labels: { "paddock.dev/agent": "x" } }, spec: { agentRef: { name: "a" }, environmentRef: { name: "e" }, prompt: "go" } } }, "labels under paddock.dev/ are Paddock's own"],
  ] as const) {
    it(`refuses ${fault} with a sentence`, async () => {
      const { code, stderr } = await kubectl(["apply", "--dry-run=server", "-n", namespace, "-f", "-"], { input: JSON.stringify(buildSchedule("refused", spec)) });
      assert.notEqual(code, 0);
      assert.ok(stderr.includes(says), stderr);
    });
  }

  it("is explained by kubectl", async () => {
    assert.match(await must(["explain", "schedule.spec.startingDeadlineSeconds"]), /how late in seconds a run may still start; absent\s+means 300/);
    assert.match(await must(["explain", "schedule.status.nextScheduleTime"]), /when the schedule fires next/);
  });
});
