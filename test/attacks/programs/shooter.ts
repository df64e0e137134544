// The entrypoint of a sandbox image whose author is an attacker: shoots at the sink for as long as it lives, and is a tool server besides.
import { writeFileSync } from "node:fs";
import { connect } from "node:net";

const [host = "", port = ""] = process.argv.slice(2);
let shots = 0;
setInterval(() => {
  const socket = connect({ host, port: Number(port) });
  socket.on("error", () => undefined);
  setTimeout(() => socket.destroy(), 60);
  shots += 1;
  if (shots % 20 === 0) writeFileSync("/tmp/shots", String(shots));
}, 15);
const server: string = "/opt/paddock/sandbox/src/main.ts";
// The control has no such server, and nobody to serve.
if (process.argv[4] !== "alone") await import(server);
