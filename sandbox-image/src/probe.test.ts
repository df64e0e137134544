import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import type { RemoteInfo } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { ProbeTarget } from "@paddock/api/wire/sandbox";
import { mergeTargets, ownTargets, parseProbe, probe } from "./probe.ts";
import { reach } from "./reach.ts";
import type { Reach } from "./reach.ts";

const TIMES = { silenceMs: 1000, patienceMs: 50, pauseMs: 5 };
const at = (port: number, protocol: ProbeTarget["protocol"] = "tcp", host = "127.0.0.1"): ProbeTarget => ({ name: "it", host, port, protocol });

/** A listener that notes what it is sent. */
async function listen(t: TestContext, onConnection: (socket: Socket) => void = () => undefined): Promise<{ port: number; received: Buffer[]; stop: () => Promise<unknown> }> {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("data", (chunk) => received.push(chunk)).on("error", () => undefined);
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async (): Promise<void> => { if (server.listening) await new Promise((resolve) => server.close(resolve)); };
  t.after(stop);
  return { port: (server.address() as AddressInfo).port, received, stop };
}

/** A port on which nothing listens. */
async function closedPort(t: TestContext): Promise<number> {
  const { port, stop } = await listen(t);
  await stop();
  return port;
}

/** A port whose listener takes nobody any more, so that the kernel leaves every SYN without an answer. */
async function listenFull(t: TestContext): Promise<number> {
  const script = 'const { writeSync } = require("fs"); const s = require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => { writeSync(1, String(s.address().port)); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); })';
  const listener = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => { listener.kill("SIGKILL"); });
  const [said] = (await once(listener.stdout, "data")) as [Buffer];
  const port = Number(said.toString());
  for (let queued = 0; queued < 2; queued++) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    t.after(() => { socket.destroy(); });
    await once(socket, "connect");
  }
  return port;
}

async function listenUdp(t: TestContext, answer: (question: Buffer) => Buffer | undefined): Promise<{ port: number; questions: Buffer[] }> {
  const socket = createSocket("udp4");
  const questions: Buffer[] = [];
  socket.on("message", (question: Buffer, from: RemoteInfo) => {
    questions.push(question);
    const reply = answer(question);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => { socket.close(); });
  return { port: socket.address().port, questions };
}

test("an established connection is open, and nothing is sent over it", async (t) => {
  const { port, received } = await listen(t);
  assert.deepEqual(await probe([at(port)], reach, TIMES), { probed: [`it (tcp 127.0.0.1:${port})`], open: [`it (tcp 127.0.0.1:${port})`] });
  assert.deepEqual(received, []);
});

test("one that is reset as soon as it is taken is open, too", async (t) => {
  const { port } = await listen(t, (socket) => { socket.resetAndDestroy(); });
  assert.equal((await probe([at(port)], reach, TIMES)).open.length, 1);
});

test("refused and unreachable are closed", async (t) => {
  const port = await closedPort(t);
  const unreachable = at(80, "tcp", "fe80::1"); // no interface is named, so that nothing is sent
  const { probed, open } = await probe([at(port), unreachable, at(port, "dns")], reach, TIMES);
  assert.deepEqual([probed.length, open], [3, []]);
});

test("silence is closed after its time, for a connection and for a question", async (t) => {
  const { port, questions } = await listenUdp(t, () => undefined);
  const full = await listenFull(t);
  assert.deepEqual((await probe([at(port, "dns"), at(full)], reach, { ...TIMES, silenceMs: 200 })).open, []);
  assert.equal(questions.length, 1, "one question, not repeated");
});

test("what is closed is not tried again", async () => {
  const asked: string[] = [];
  const silent: Reach = (target, silenceMs) => {
    asked.push(`${target.host} ${silenceMs}`);
    return Promise.resolve(false);
  };
  assert.deepEqual((await probe([at(1)], silent, TIMES)).open, []);
  assert.deepEqual(asked, ["127.0.0.1 1000"]);
});

test("a DNS server that answers is open, and was asked one whole question", async (t) => {
  const { port, questions } = await listenUdp(t, (question) => question);
  assert.deepEqual((await probe([at(port, "dns")], reach, { ...TIMES, patienceMs: 0 })).open, [`it (dns 127.0.0.1:${port})`]);
  const [question] = questions;
  assert.ok(question !== undefined && questions.length === 1);
  assert.deepEqual(question.subarray(2, 12).toString("hex"), "01000001000000000000");
  assert.equal(question.subarray(12).toString("latin1"), "\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01");
});

test("an answer from another address does not count", async (t) => {
  const stranger = createSocket("udp4");
  t.after(() => { stranger.close(); });
  const asked = createSocket("udp4");
  asked.on("message", (question: Buffer, from: RemoteInfo) => { stranger.send(question, from.port, from.address); });
  asked.bind(0, "127.0.0.1");
  await once(asked, "listening");
  t.after(() => { asked.close(); });
  assert.deepEqual((await probe([at(asked.address().port, "dns")], reach, { ...TIMES, silenceMs: 300 })).open, []);
});

test("what closes in time is closed: policies may arrive after the pod", async (t) => {
  const late = await listen(t, () => { void late.stop(); });
  const { port } = await listen(t);
  const { open } = await probe([at(late.port), at(port)], reach, { ...TIMES, patienceMs: 300 });
  assert.deepEqual(open, [`it (tcp 127.0.0.1:${port})`]);
});

test("the last try decides, and tries end with the patience", async () => {
  for (const [answers, isOpen] of [[[true, false, true], true], [[true, true, false], false], [[false, true, true], false]] as const) {
    let tries = 0;
    const last = answers.length - 1;
    const scripted: Reach = () => Promise.resolve(answers[Math.min(tries++, last)] ?? false);
    const { open } = await probe([at(1)], scripted, { silenceMs: 1, patienceMs: 60, pauseMs: 10 });
    assert.equal(open.length === 1, isOpen, String(answers));
  }
});

test("a machine that cannot ask proves nothing", async () => {
  const broken: Reach = () => Promise.reject(new Error("EMFILE"));
  await assert.rejects(probe([at(1)], broken, TIMES), /EMFILE/);
});

test("own targets come from the pod; equal addresses are tried once; too many are refused", () => {
  const own = ownTargets({ apiServer: { host: "10.96.0.1", port: 443 }, node: "fd00::1" });
  assert.deepEqual(own.map(({ name, host, port }) => `${name} ${host} ${port}`), ["API server 10.96.0.1 443", "kubelet of the node fd00::1 10250", "metadata service 169.254.169.254 80"]);
  assert.deepEqual(ownTargets({}).map(({ name }) => name), ["metadata service"]);
  const again = [{ ...at(443, "tcp", "10.96.0.1"), name: "second name" }, at(10250, "tcp", "fd00:0::0:1"), at(443, "dns", "10.96.0.1")];
  assert.deepEqual(mergeTargets(own, again).map(({ name, protocol }) => `${name} ${protocol}`), ["API server tcp", "kubelet of the node tcp", "metadata service tcp", "it dns"]);
  const many = Array.from({ length: 64 }, (_, index) => at(index + 1));
  assert.equal(mergeTargets(many).length, 64);
  assert.throws(() => mergeTargets(own, many), /probe has 67 targets together with the tool server's own; at most 64 are tried/);
});

test("IPv6 addresses are shown in brackets", async () => {
  const { probed } = await probe([at(53, "dns", "fd00::a")], () => Promise.resolve(false), TIMES);
  assert.deepEqual(probed, ["it (dns [fd00::a]:53)"]);
});

test("a probe that is none is refused by its field", () => {
  assert.deepEqual(parseProbe(undefined), []);
  assert.deepEqual(parseProbe([{ ...at(1), more: 1 }]), [at(1)]);
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [{}, /^probe must be a list of at most 64$/], [Array.from({ length: 65 }, () => at(1)), /^probe must be a list/], [[null], /^probe\[0\]\.name/], [[at(1), { ...at(1), name: "" }], /^probe\[1\]\.name/],
    [[{ ...at(1), host: "gateway.example" }], /^probe\[0\]\.host must be an IP address/], [[{ ...at(1), host: 7 }], /host/], [[at(0)], /^probe\[0\]\.port/], [[at(65536)], /port/], [[at(1.5)], /port/],
    [[{ ...at(1), port: "443" }], /port/], [[{ ...at(1), protocol: "udp" }], /^probe\[0\]\.protocol must be tcp or dns/],
  ];
  for (const [value, message] of cases) assert.throws(() => parseProbe(value), { message });
});
