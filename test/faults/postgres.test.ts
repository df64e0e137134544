import { storeCases } from "../../gateway/src/store/testdata/cases.ts";
import type { Damage } from "../../gateway/src/store/testdata/cases-scene.ts";
import { openPostgresStore } from "../../gateway/src/store/postgres.ts";
import { postgresOfFile } from "../postgres/scene.ts";

// What every store must do, on a real Postgres server.

const serverOf = postgresOfFile();

storeCases("Postgres", async () => {
  const running = serverOf();
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
