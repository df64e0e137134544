// The host that programs want to reach: HTTPS on loopback.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createForge } from "../../forge/server.ts";
import type { Certificate } from "../../forge/server.ts";
import { readSettings, serveOrders, tell } from "./station.ts";

const { https } = createForge(readSettings() as Certificate, { token: () => undefined, folder: "/nonexistent" });
https.listen(0, "127.0.0.1");
await once(https, "listening");
tell({ port: (https.address() as AddressInfo).port });
await serveOrders(() => Promise.resolve({}));
