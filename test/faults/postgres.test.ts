import { after, before } from "node:test";
import { storeCases } from "../../gateway/src/store/testdata/cases.ts";
import type { Damage } from "../../gateway/src/store/testdata/cases-scene.ts";
import { openPostgresStore } from "../../gateway/src/store/postgres.ts";
import { openProgress } from "../progress.ts";
import { startPostgres } from "../postgres/server.ts";
import type { PostgresServer } from "../postgres/server.ts";

// What every store must do, on a real Postgres server.

let server: PostgresServer | undefined;
before(async () => {
  server = await startPostgres(openProgress());
});
after(() => server?.remove());

storeCases("Postgres", async () => {
  const running = server;
  if (running === undefined) throw new Error("the server did not start");
  const url = await running.createDatabase();
  const open = () => openPostgresStore(url, { now: () => new Date() });
  let store = await open();
  return {
    store,
    damage: async (damage) => {
      await running.sql(url, damageStatements(damage));
    },
    reopen: async () => {
      await store.close();
      store = await open();
      return store;
    },
    remove: () => store.close(),
  };
});

function damageStatements(damage: Damage): string {
  const where = (seq: number): string => `WHERE uid = '${damage.uid}' AND seq = ${seq}`;
  if (damage.kind === "delete") return `DELETE FROM events ${where(damage.seq)};`;
  if (damage.kind === "rewrite") return `UPDATE events SET body = '${damage.body}' ${where(damage.seq)};`;
  const [first, second] = damage.seqs;
  return [[-1, first], [first, second], [second, -1]].map(([to = 0, from = 0]) => `UPDATE events SET seq = ${to} ${where(from)};`).join("\n");
}
