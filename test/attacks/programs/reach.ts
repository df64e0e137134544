// Tries addresses, each once: TCP connections, a datagram, questions to a name server. Reports `{address, reach: {name: "open"|"refused"|"silent"|"sent"}}`.
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";

interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "dns-udp" | "dns-tcp";
}

const PATIENCE_MS = 2000;
/** A question for the address of kubernetes.default.svc.cluster.local. */
const QUESTION = Buffer.concat([Buffer.from("123401000001000000000000", "hex"), Buffer.concat(["kubernetes", "default", "svc", "cluster", "local"].map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))), Buffer.from("0000010001", "hex")]);

function tcp({ host, port, protocol }: Target): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (answer: string): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PATIENCE_MS, () => done("silent"));
    socket.on("connect", () => {
      if (protocol === "tcp") return done("open");
      socket.write(Buffer.concat([Buffer.from([0, QUESTION.length]), QUESTION]));
    });
    socket.on("data", () => done("open"));
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code === "ECONNREFUSED" ? "refused" : "silent"));
  });
}

function udp({ name, host, port, protocol }: Target): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const done = (answer: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => done(protocol === "udp" ? "sent" : "silent"), PATIENCE_MS);
    socket.on("message", () => done("open"));
    socket.on("error", () => done("silent"));
    socket.send(protocol === "udp" ? Buffer.from(name) : QUESTION, port, host, (error) => {
      if (error) done("silent");
    });
  });
}

const argument = process.argv.at(-1) ?? "{}";
const { targets } = JSON.parse(argument.startsWith("{") ? argument : readFileSync(argument, "utf8")) as { targets: readonly Target[] };
const answers = await Promise.all(targets.map(async (target) => [target.name, await (target.protocol.endsWith("udp") ? udp : tcp)(target)] as const));
const address = Object.values(networkInterfaces()).flat().find((one) => one !== undefined && !one.internal && one.family === "IPv4")?.address ?? "";
console.log(`RESULT ${JSON.stringify({ address, reach: Object.fromEntries(answers) })}`);
