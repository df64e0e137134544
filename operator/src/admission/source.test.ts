import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { buildAdmission } from "@paddock/api/admission/policies";
import { releaseOf } from "@paddock/api/admission/policy";
import { ADMISSION_KEY, type AdmissionView } from "../sources.ts";
import type { Finding } from "./review.ts";
import { type AdmissionOptions, createAdmissionSource } from "./source.ts";

const wanted = buildAdmission(releaseOf("paddock-system", []), { creatorStamp: true });

interface Seen {
  readonly view: () => AdmissionView | undefined;
  readonly isSynced: () => boolean;
  readonly blindMs: () => number;
  /** Resolves with the first view, this one included, that is as asked. */
  until(isEnough: (view: AdmissionView) => boolean): Promise<AdmissionView>;
}

/** A source that looks again at once, stopped when the test ends. */
function watch(t: TestContext, options: Omit<AdmissionOptions, "wanted" | "everyMs">): Seen {
  const { feed, watcher } = createAdmissionSource({ wanted, everyMs: { trusted: 1, otherwise: 1 }, ...options });
  const view = () => feed.get(ADMISSION_KEY);
  t.after(watcher.stop);
  watcher.start();
  return {
    view, isSynced: watcher.isSynced, blindMs: watcher.blindMs,
    until: (isEnough) =>
      new Promise((resolve) => {
        const now = view();
        if (now !== undefined && isEnough(now)) resolve(now);
        else feed.onChange((next) => (isEnough(next) ? resolve(next) : undefined));
      }),
  };
}

test("policies that are installed after the operator are noticed, and so is one that is taken away", async (t) => {
  let held: (name: string) => Finding = () => "absent";
  const seen = watch(t, { read: async ({ kind, metadata, spec }) => (held(`${kind} ${metadata.name}`) === "absent" ? "absent" : { spec }) });
  const before = await seen.until(() => true);
  assert.equal(before.trusted, false);
  held = () => ({});
  assert.deepEqual(await seen.until(({ trusted }) => trusted), { trusted: true, problems: [] });
  const last = wanted.at(-1);
  assert.ok(last);
  const gone = `${last.kind} ${last.metadata.name}`;
  held = (name) => (name === gone ? "absent" : {});
  assert.match((await seen.until(({ trusted }) => !trusted)).problems[0] ?? "", /^MutatingAdmissionPolicyBinding creator-stamp\.paddock-system\.paddock\.dev does not exist/);
});

test("an API server that does not answer changes nothing that is known, and is told as blindness", async (t) => {
  let isDown = false;
  let troubles = 0;
  const failed = Promise.withResolvers<undefined>();
  const seen = watch(t, {
    read: async ({ spec }) => {
      if (isDown) throw new Error("no answer");
      return { spec };
    },
    onTrouble: (_, failures) => {
      troubles = failures;
      if (failures === 3) failed.resolve(undefined);
    },
  });
  await seen.until(({ trusted }) => trusted);
  assert.equal(seen.blindMs(), 0);
  isDown = true;
  await failed.promise;
  assert.deepEqual([seen.view()?.trusted, seen.isSynced(), troubles >= 3, seen.blindMs() > 0], [true, true, true, true]);
});

test("nothing is known before the first answer", async (t) => {
  const failed = Promise.withResolvers<undefined>();
  const seen = watch(t, { read: () => Promise.reject(new Error("no answer")), onTrouble: () => failed.resolve(undefined) });
  await failed.promise;
  assert.deepEqual([seen.isSynced(), seen.view()], [false, undefined]);
});
