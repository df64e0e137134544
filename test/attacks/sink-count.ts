import { run } from "../cluster/command.ts";

const NAMESPACE = "paddock-sink";

/** IP packets that the sink's machine has received, of any kind and for any port, connected or not. */
export async function packetsAtSink(): Promise<number> {
  return parseReceived(await run(["ip", "netns", "exec", NAMESPACE, "cat", "/proc/net/snmp"]));
}

/** `InReceives` of the two lines `Ip:`. Pure. */
export function parseReceived(text: string): number {
  const [names = [], values = []] = text.split("\n").filter((line) => line.startsWith("Ip: ")).map((line) => line.split(" "));
  const value = Number(values[names.indexOf("InReceives")]);
  if (!Number.isInteger(value)) throw new Error("/proc/net/snmp tells no InReceives");
  return value;
}
