import { createSocket } from "node:dgram";
import { randomInt } from "node:crypto";
import { connect, isIPv6 } from "node:net";
import type { ProbeTarget } from "@paddock/api/wire/sandbox";
import { codeOf } from "./failure.ts";

/** Whether something answers at an address within a time. Rejects when this machine cannot ask, which proves nothing. */
export type Reach = (target: Pick<ProbeTarget, "host" | "port" | "protocol">, silenceMs: number) => Promise<boolean>;

/** The name every cluster's DNS has. */
const QUESTION = "kubernetes.default.svc.cluster.local";

/** Nothing was asked: the fault is here. */
const OWN_FAULTS: readonly string[] = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN"];
/** Reset after it was established, which our side saw too late. */
const ANSWERED_FAULTS: readonly string[] = ["ECONNRESET", "EPIPE"];

/** Over the real network: no more than a SYN or one DNS question is sent. */
export const reach: Reach = (target, silenceMs) => (target.protocol === "dns" ? answersQuestion(target, silenceMs) : takesConnection(target, silenceMs));

function takesConnection({ host, port }: Parameters<Reach>[0], silenceMs: number): Promise<boolean> {
  return withinSilence(silenceMs, ({ settle, fail }) => {
    const socket = connect({ host, port, autoSelectFamily: false });
    socket.once("connect", () => { settle(true); });
    socket.on("error", (error) => {
      const code = codeOf(error) ?? "";
      if (OWN_FAULTS.includes(code)) fail(error);
      else settle(ANSWERED_FAULTS.includes(code));
    });
    return () => { socket.destroy(); };
  });
}

function answersQuestion({ host, port }: Parameters<Reach>[0], silenceMs: number): Promise<boolean> {
  return withinSilence(silenceMs, ({ settle, fail }) => {
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    socket.on("error", (error) => {
      if (OWN_FAULTS.includes(codeOf(error) ?? "")) fail(error);
      else settle(false);
    });
    // Connected, so that only that address' answers and refusals come here; whatever it says, it was reached.
    socket.once("message", () => { settle(true); });
    socket.once("connect", () => { socket.send(buildQuestion(randomInt(2 ** 16), QUESTION)); });
    socket.connect(port, host);
    return () => { socket.close(); };
  });
}

interface Verdict {
  settle(isOpen: boolean): void;
  fail(error: Error): void;
}

/** `ask` gives back how to end it. */
async function withinSilence(silenceMs: number, ask: (verdict: Verdict) => () => void): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  let end: (() => void) | undefined;
  try {
    return await new Promise<boolean>((settle, fail) => {
      end = ask({ settle, fail });
      // A process that got no time for so long finds the timer first: it looks at its sockets once more before it calls that silence.
      timer = setTimeout(() => { setImmediate(() => { settle(false); }); }, silenceMs);
    });
  } finally {
    clearTimeout(timer);
    end?.();
  }
}

/** A DNS message that asks for the IPv4 address of a name (RFC 1035, 4.1). Pure. */
export function buildQuestion(id: number, name: string): Buffer {
  const header = Buffer.from([id >> 8, id & 0xff, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]); // recursion desired, one question
  const labels = name.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label, "latin1")]));
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 1, 0, 1])]); // root, type A, class IN
}
