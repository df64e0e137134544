import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { createDial, lookupNameOf } from "./dial.ts";
import type { DialPorts, Resolve } from "./dial.ts";
import { decideAddress, isDenial } from "./decision.ts";
import type { EgressDenial } from "./policy.ts";
import { readPolicy } from "./rules.ts";

const policy = readPolicy({ name: "prod", spec: { network: { allowedHosts: [{ host: "*.example", addresses: ["10.20.0.0/16"] }] } } }, []);
const never = new AbortController().signal;
/** Loopback stands for the internet here, as it can be dialled by nobody else. */
const isLoopback = (_policy: unknown, _entries: unknown, _host: string, address: string): boolean => address.startsWith("127.") || address === "::1";

async function listen(t: TestContext, host = "127.0.0.1", port = 0): Promise<{ close: () => Promise<void>; port: number; peers: Socket[] }> {
  const peers: Socket[] = [];
  const server = createServer((socket) => void peers.push(socket.on("error", () => undefined).resume())).listen(port, host);
  await once(server, "listening");
  const close = async (): Promise<void> => {
    for (const peer of peers) peer.destroy();
    if (!server.listening) return;
    server.close();
    await once(server, "close");
  };
  t.after(close);
  return { close, port: (server.address() as AddressInfo).port, peers };
}

async function dialTo(port: number, ports: Partial<DialPorts>, signal = never): Promise<Socket | EgressDenial> {
  const dial = createDial({ policy, isAddressAllowed: isLoopback, connectMs: 10_000, ...ports });
  return dial({ host: "a.example", port }, [0], signal);
}

function socketOf(reached: Socket | EgressDenial): Socket {
  assert.ok(reached instanceof Socket, JSON.stringify(reached));
  return reached;
}

function denialOf(reached: Socket | EgressDenial): EgressDenial {
  assert.ok(isDenial(reached));
  return reached;
}

/** Answers with one list after the other, and counts. */
function answering(...lists: readonly (readonly string[])[]): Resolve & { asked: string[] } {
  const asked: string[] = [];
  return Object.assign((host: string) => Promise.resolve(lists[asked.push(host) - 1] ?? []), { asked });
}

test("a name is resolved once, and the address that was checked is the one that is dialled", async (t) => {
  const { port } = await listen(t);
  const resolve = answering(["127.0.0.1"], ["127.0.0.2"]);
  const socket = socketOf(await dialTo(port, { resolve }));
  t.after(() => socket.destroy());
  assert.equal(socket.remoteAddress, "127.0.0.1");
  assert.deepEqual(resolve.asked, ["a.example"]);
});

test("addresses are tried in their order until one answers, and those that are not allowed are not", async (t) => {
  const { port, peers } = await listen(t, "127.0.0.3");
  const forbidden = await listen(t, "127.0.0.9", port);
  const isAllowed = (_policy: unknown, _entries: unknown, _host: string, address: string): boolean => address !== "127.0.0.9";
  const socket = socketOf(await dialTo(port, { resolve: answering(["127.0.0.9", "127.0.0.2", "127.0.0.3"]), isAddressAllowed: isAllowed }));
  t.after(() => socket.destroy());
  assert.equal(socket.remoteAddress, "127.0.0.3");
  while (peers.length === 0) await new Promise(setImmediate);
  assert.equal(forbidden.peers.length, 0);
});

test("a name that stands for addresses that may not be dialled is refused before anything is dialled", async (t) => {
  const { port, peers } = await listen(t);
  for (const found of [["127.0.0.1"], ["169.254.169.254", "::1"], ["::ffff:127.0.0.1"], ["192.168.0.1"], ["fe80::1%lo"], ["not an address"]]) {
    const { refusal, status, message } = denialOf(await dialTo(port, { resolve: answering(found), isAddressAllowed: decideAddress }));
    assert.deepEqual([refusal, status], ["AddressNotAllowed", 403], found[0]);
    assert.ok(message.includes(`a.example:${port}: the name stands for ${found.join(", ")}`), message);
    assert.match(message, /add its range to spec\.network\.allowedHosts\[0\]\.addresses of Environment prod/);
  }
  assert.equal(peers.length, 0);
});

test("a name that nobody knows, and a resolver that does not answer, are told apart", async () => {
  const unknown = denialOf(await dialTo(443, { resolve: () => Promise.reject(new Error("ENOTFOUND")) }));
  assert.deepEqual([unknown.refusal, unknown.status], ["Unresolved", 502]);
  assert.match(unknown.message, /a\.example:443: Environment prod allows it, and the cluster's DNS does not know the name/);
  const late = denialOf(await dialTo(443, { resolve: () => new Promise(() => undefined), connectMs: 10 }));
  assert.deepEqual([late.refusal, late.status], ["Unresolved", 504]);
  const thrown = denialOf(await dialTo(443, { resolve: () => { throw new Error("at once"); } }));
  assert.equal(thrown.refusal, "Unresolved");
});

test("a host that refuses, and one that does not answer, say so with the address", async (t) => {
  const { close, port } = await listen(t);
  await close();
  const refused = denialOf(await dialTo(port, { resolve: answering(["127.0.0.1", "127.0.0.2"]) }));
  assert.deepEqual([refused.refusal, refused.status], ["Unreachable", 502]);
  assert.match(refused.message, /: 127\.0\.0\.1 refused the connection, 127\.0\.0\.2 refused the connection\.$/);
});

test("an abort ends the wait for the name", async () => {
  const stop = new AbortController();
  const dialled = dialTo(443, { resolve: () => new Promise(() => undefined) }, stop.signal);
  stop.abort();
  assert.equal(denialOf(await dialled).refusal, "Stopped");
  assert.equal(denialOf(await dialTo(443, {}, stop.signal)).refusal, "Stopped");
});

test("an abort while connecting leaves no connection", async (t) => {
  const { port } = await listen(t);
  const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap" || name === "TCPConnectWrap").length;
  const before = sockets();
  const stop = new AbortController();
  const isAllowed = (): boolean => {
    // Behind the check comes the connection, in the same turn.
    queueMicrotask(() => stop.abort());
    return true;
  };
  assert.equal(denialOf(await dialTo(port, { resolve: answering(["127.0.0.1"]), isAddressAllowed: isAllowed }, stop.signal)).refusal, "Stopped");
  while (sockets() > before) await new Promise(setImmediate);
});

test("lookups that nobody waits for any more are never made, and a few run at once", async () => {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const resolve: Resolve = (host) => {
    asked.push(host);
    return new Promise((done) => answers.push(() => { done([]); }));
  };
  const dial = createDial({ policy, resolve, connectMs: 60_000 });
  const stop = new AbortController();
  const kept = Array.from({ length: 3 }, (_, place) => dial({ host: `kept-${place}.example`, port: 443 }, [0], never));
  const dropped = Array.from({ length: 1000 }, (_, place) => dial({ host: `dropped-${place}.example`, port: 443 }, [0], stop.signal));
  const last = dial({ host: "last.example", port: 443 }, [0], never);
  await new Promise(setImmediate);
  assert.deepEqual(asked, ["kept-0.example", "kept-1.example", "kept-2.example"]);
  stop.abort();
  await Promise.all(dropped);
  for (const answer of answers.splice(0)) answer();
  await Promise.all(kept);
  while (answers.length === 0) await new Promise(setImmediate);
  for (const answer of answers) answer();
  assert.equal(denialOf(await last).refusal, "AddressNotAllowed");
  assert.deepEqual(asked.slice(3), ["last.example"]);
});

test("the system's resolver is asked for a name as it is, but for Services, which need the cluster's domain", () => {
  assert.equal(lookupNameOf("api.example.com"), "api.example.com.");
  assert.equal(lookupNameOf("git.tools.svc"), "git.tools.svc");
  assert.equal(lookupNameOf("svc.example"), "svc.example.");
});
