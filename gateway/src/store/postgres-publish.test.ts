import assert from "node:assert/strict";
import { test } from "node:test";
import { openPublisher } from "./postgres-publish.ts";

test("a server that was put back to before our commit is asked a few times, not for ever", async () => {
  let asked = 0;
  const publisher = openPublisher({
    on: {
      query: async (sql) => {
        asked += 1;
        if (asked > 100) throw new Error("asked without an end");
        return sql.includes("FROM counter") ? [{ position: "5" }] : [];
      },
    },
    records: { select: async () => [], one: async () => undefined },
    from: 3,
    report: (error) => assert.fail(String(error)),
  });
  publisher.subscribe(() => undefined);
  await publisher.committed([{ position: 9, change: { kind: "budget", budget: { environmentUid: "e" } } }]);
  assert.ok(asked < 20, `${asked} questions`);
});
