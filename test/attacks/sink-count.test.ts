import assert from "node:assert/strict";
import { it } from "node:test";
import { parseReceived } from "./sink-count.ts";

it("packets are read from what the kernel counts", () => {
  assert.equal(parseReceived("Ip: Forwarding DefaultTTL InReceives InHdrErrors\nIp: 1 64 1234 0\nIcmp: InMsgs\nIcmp: 7\n"), 1234);
  assert.throws(() => parseReceived("Tcp: A\nTcp: 1\n"), /tells no InReceives/);
});
