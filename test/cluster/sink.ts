import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { run, succeeds } from "./command.ts";
import { listNetworkNamespaces } from "./host/machine.ts";

// Nothing may leave the machine. The sink is a network namespace that owns what tests call the internet and the cloud's
// metadata service; whatever a test or an escaped agent sends there ends there.

/** The network that stands for the internet: reserved for benchmarks, routed nowhere. */
export const internet = "198.18.0.0/24";
/** The address of every cloud's metadata service. */
export const metadataAddress = "169.254.169.254";

/** What every sandbox of the host cluster tries to reach before its first command, as the chart's `isolation.canaries` has it. */
export const sinkCanaries: readonly string[] = ["198.18.0.10:8443"];

const namespace = "paddock-sink";
const outside = "paddock-sink0";
const inside = "paddock-sink1";
const [outsideIp, insideIp] = ["10.245.2.1", "10.245.2.2"];
/** A routing table of its own, asked first, so that no route of the machine is changed. */
const table = "19818";
const preference = "50";

/** Makes the sink; to be called before any pod runs. */
export async function makeSink(): Promise<void> {
  const within = (...args: readonly string[]): Promise<string> => run(["ip", "-netns", namespace, ...args]);
  await run(["ip", "netns", "add", namespace]);
  await run(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", namespace]);
  await run(["ip", "address", "add", `${outsideIp}/30`, "dev", outside]);
  await run(["ip", "link", "set", outside, "up"]);
  await within("link", "set", "lo", "up");
  await within("address", "add", `${insideIp}/30`, "dev", inside);
  await within("link", "set", inside, "up");
  await within("route", "add", "default", "via", outsideIp);
  for (const destination of [internet, metadataAddress]) {
    await within("route", "add", "local", destination, "dev", "lo"); // every address of it is its own
    await run(["ip", "route", "add", destination, "via", insideIp, "dev", outside, "table", table]);
    await run(["ip", "rule", "add", "to", destination, "lookup", table, "priority", preference]);
  }
}

/** Removes the sink, or what there is of it. */
export async function removeSink(): Promise<void> {
  for (const destination of [internet, metadataAddress]) {
    await succeeds(["ip", "rule", "delete", "to", destination, "lookup", table, "priority", preference]);
  }
  if (listNetworkNamespaces()?.includes(namespace)) await run(["ip", "netns", "delete", namespace]);
  await succeeds(["ip", "link", "delete", outside]);
}

/** Throws unless packets to the IPv4 address go into the sink. To be called before anything is sent to it. */
export async function assertSinkOwns(address: string): Promise<void> {
  const [route] = JSON.parse(await run(["ip", "-json", "route", "get", address])) as readonly { dev?: string; gateway?: string }[];
  if (route?.dev === outside && route.gateway === insideIp) return;
  throw new Error(`${address} does not belong to the sink, but would leave by ${route?.dev ?? "no device"}: nothing may be sent to it`);
}

/** One connection or datagram that a listener in the sink has seen. */
export interface Arrival { protocol: "tcp" | "udp"; from: string; at: string; data: string }

/** Listeners in the sink, in a process of their own. */
export interface SinkListener {
  /** Everything seen so far, oldest first. A TCP connection counts when it is accepted, before any byte. */
  seen(): readonly Arrival[];
  close(): Promise<void>;
}

/** Listens in the sink on a port of all its addresses, by TCP and UDP; resolves when it does. */
export async function listenInSink(port: number): Promise<SinkListener> {
  const child = spawn("ip", ["netns", "exec", namespace, process.execPath, join(import.meta.dirname, "sink-listener.ts"), String(port)], {
    stdio: ["pipe", "pipe", "inherit"], // it ends when its input does, so never outlives this process
  });
  const exited = once(child, "exit");
  const arrivals: Arrival[] = [];
  const lines = createInterface({ input: child.stdout });
  const ready = once(lines, "line");
  const failed = exited.then(([code]) => Promise.reject(new Error(`the listener in the sink ended with ${code}; is the host cluster up?`)));
  await Promise.race([ready, failed]);
  failed.catch(() => {}); // its end is awaited by close
  lines.on("line", (line) => arrivals.push(JSON.parse(line) as Arrival));
  return {
    seen: () => [...arrivals],
    close: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

/** The sink as a set of targets that an agent must not reach, with a listener on each. */
export interface Sink {
  readonly targets: readonly { name: string; host: string; port: number }[];
  /** Everything that has arrived so far, of each target oldest first. */
  seen(): readonly Arrival[];
  /** What has arrived from one address, such as a pod's. */
  seenFrom(address: string): readonly Arrival[];
  close(): Promise<void>;
}

/** Opens the sink of the host cluster; undefined where the cluster has none. Each target is proven to belong to it. */
export async function openSink(): Promise<Sink | undefined> {
  if (!listNetworkNamespaces()?.includes(namespace)) return undefined;
  const targets = [{ name: "the internet", host: "198.18.0.10", port: 8443 }, { name: "the metadata service", host: metadataAddress, port: 80 }];
  for (const { host } of targets) await assertSinkOwns(host);
  const listeners = await Promise.all(targets.map(({ port }) => listenInSink(port)));
  const seen = (): readonly Arrival[] => listeners.flatMap((listener) => listener.seen());
  return {
    targets, seen, seenFrom: (address) => seen().filter(({ from }) => from === address),
    close: async () => {
      await Promise.all(listeners.map((listener) => listener.close()));
    },
  };
}
