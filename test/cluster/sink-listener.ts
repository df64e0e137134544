// Runs inside the sink's network namespace, started by sink.ts: accepts TCP connections and UDP datagrams on one port,
// prints "ready", then each arrival as a line of JSON; ends with its standard input.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import type { Arrival } from "./sink.ts";

const port = Number(process.argv[2]);
const report = (arrival: Arrival): unknown => process.stdout.write(`${JSON.stringify(arrival)}\n`);

const server = createServer((socket) => {
  const { remoteAddress: from = "", localAddress: at = "" } = socket;
  report({ protocol: "tcp", from, at, data: "" });
  socket.on("data", (data) => report({ protocol: "tcp", from, at, data: data.toString() }));
  socket.on("error", () => {}); // a reset by the other side is no news
});
const datagrams = createSocket("udp4", (data, { address }) => report({ protocol: "udp", from: address, at: "", data: data.toString() }));

server.listen(port, "0.0.0.0");
datagrams.bind(port, "0.0.0.0");
await Promise.all([once(server, "listening"), once(datagrams, "listening")]);
process.stdout.write("ready\n");
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
