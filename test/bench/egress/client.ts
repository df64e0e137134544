// The program in the sandbox: asks the upstream directly, or through the forwarder as HTTPS_PROXY has it.
import { once } from "node:events";
import { Agent, request } from "node:https";
import type { ClientRequest, IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { HOSTS } from "./hosts.ts";
import { readSettings, serveOrders, tell } from "./station.ts";

interface Settings {
  readonly upstreamPort: number;
  readonly proxyPort: number;
  readonly ca: string;
}

/** How a request goes: past the proxy, or through it to a host that it carries in one of its ways. */
export type Way = "direct" | keyof typeof HOSTS;

export type Order =
  | { readonly kind: "Requests"; readonly way: Way; readonly count: number; readonly isFresh: boolean }
  | { readonly kind: "Down" | "Up"; readonly way: Way; readonly bytes: number }
  | { readonly kind: "Open"; readonly way: Way; readonly count: number }
  | { readonly kind: "Busy"; readonly ms: number }
  | { readonly kind: "Close" };

const { upstreamPort, proxyPort, ca } = readSettings() as Settings;

const toLoopback: LookupFunction = (_host, options, done) => {
  if (options.all === true) done(null, [{ address: "127.0.0.1", family: 4 }]);
  else done(null, "127.0.0.1", 4);
};

function openAgent(way: Way, isKept: boolean): Agent {
  const common = { keepAlive: isKept, maxSockets: Infinity, ca };
  return new Agent(way === "direct" ? { ...common, lookup: toLoopback } : { ...common, proxyEnv: { HTTPS_PROXY: `http://127.0.0.1:${proxyPort}` } });
}

function send(agent: Agent, way: Way, path: string, method = "GET"): ClientRequest {
  return request({ agent, host: HOSTS[way === "direct" ? "tunnel" : way], port: upstreamPort, path, method });
}

async function read(sent: ClientRequest): Promise<number> {
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  if (response.statusCode !== 200) throw new Error(`the answer is ${String(response.statusCode)}`);
  return bytes;
}

/** Requests one after the other, each on a connection of its own or all on one. Milliseconds of each. */
async function measureRequests({ way, count, isFresh }: { readonly way: Way; readonly count: number; readonly isFresh: boolean }): Promise<object> {
  const agent = openAgent(way, !isFresh);
  const ms: number[] = [];
  if (!isFresh) await read(send(agent, way, "/").end());
  for (let done = 0; done < count; done += 1) {
    const startedAt = performance.now();
    await read(send(agent, way, "/").end());
    ms.push(performance.now() - startedAt);
  }
  agent.destroy();
  return { ms };
}

const CHUNK = Buffer.alloc(65_536, "x");

async function measureBody(kind: "Down" | "Up", way: Way, bytes: number): Promise<object> {
  const agent = openAgent(way, true);
  await read(send(agent, way, "/").end());
  const startedAt = performance.now();
  if (kind === "Down") await expectBytes(read(send(agent, way, `/blob?bytes=${bytes}`).end()), bytes);
  else await upload(send(agent, way, "/pour", "PUT"), bytes);
  const seconds = (performance.now() - startedAt) / 1000;
  agent.destroy();
  return { MBps: bytes / 1e6 / seconds };
}

async function expectBytes(count: Promise<number>, bytes: number): Promise<void> {
  const got = await count;
  if (got !== bytes) throw new Error(`${got} of ${bytes} bytes came`);
}

async function upload(sent: ClientRequest, bytes: number): Promise<void> {
  const answer = read(sent);
  for (let left = bytes; left > 0; left -= CHUNK.length) if (!sent.write(CHUNK)) await once(sent, "drain");
  sent.end();
  await answer;
}

const held: { readonly agent: Agent; readonly way: Way }[] = [];

/** Connections that stay open and idle: each of an agent of its own, which has asked one thing. */
async function hold(way: Way, count: number): Promise<object> {
  const agents = Array.from({ length: count }, () => openAgent(way, true));
  for (const agent of agents) {
    await read(send(agent, way, "/").end());
    held.push({ agent, way });
  }
  return { open: held.length };
}

/** Each open connection asks for 64 KiB again and again. */
async function keepBusy(ms: number): Promise<object> {
  const endsAt = performance.now() + ms;
  let requests = 0;
  await Promise.all(
    held.map(async ({ agent, way }) => {
      while (performance.now() < endsAt) {
        await read(send(agent, way, "/blob?bytes=65536").end());
        requests += 1;
      }
    }),
  );
  return { requests };
}

tell({});
await serveOrders((given) => {
  const order = given as Order;
  switch (order.kind) {
    case "Requests": return measureRequests(order);
    case "Down": case "Up": return measureBody(order.kind, order.way, order.bytes);
    case "Open": return hold(order.way, order.count);
    case "Busy": return keepBusy(order.ms);
    case "Close":
      for (const { agent } of held.splice(0)) agent.destroy();
      return Promise.resolve({});
  }
});
