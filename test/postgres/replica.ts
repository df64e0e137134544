import { openPostgresStore } from "../../gateway/src/store/postgres.ts";

// A gateway's store in a process of its own, to be stopped and killed: `replica.ts URL UID POD` says that the runner pod follows it, writes a line and stays.

const [url = "", uid = "", podUid = ""] = process.argv.slice(2);
const store = await openPostgresStore(url, { now: () => new Date(), beatMs: 50, deadAfterMs: 2000 });
await store.connected(uid, podUid, true, new Date().toISOString());
process.stdout.write("connected\n");
setInterval(() => undefined, 60_000);
