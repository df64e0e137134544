import assert from "node:assert/strict";
import { test } from "node:test";
import { fillIn } from "./configuration.ts";
import { listeningPorts } from "./foreign.ts";
import { settingsToRestore } from "./machine.ts";
import { missingPackages } from "./packages.ts";
import { mountsUnder } from "./removal.ts";
import { unusedTables, withoutCilium } from "./rules.ts";

test("only listening sockets make a port busy", () => {
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue",
    "   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0",
    "   1: 0100007F:192B 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0",
    "   2: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 3 1 0",
    "",
  ].join("\n");
  assert.deepEqual(listeningPorts(table), [2379, 10250]);
});

test("settings go back to what they were, new and vanished ones are left alone", () => {
  assert.deepEqual(settingsToRestore({ a: "0", b: "1", gone: "1" }, { a: "1", b: "1", fresh: "1" }), [["a", "0"]]);
});

test("a folder whose name only begins the same is not ours to unmount", () => {
  const mounts = "tmpfs /var/lib/ours/a\\040b tmpfs rw 0 0\nx /var/lib/ours ext4 rw 0 0\nx /var/lib/ours-too ext4 rw 0 0\nx / ext4 rw 0 0\n";
  assert.deepEqual(mountsUnder(mounts, ["/var/lib/ours"]), ["/var/lib/ours/a b", "/var/lib/ours"]);
});

const saved = `# Generated
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:CILIUM_PRE_nat - [0:0]
-A PREROUTING -m comment --comment "cilium-feeder: CILIUM_PRE_nat" -j CILIUM_PRE_nat
-A PREROUTING -j DOCKER
COMMIT
# Completed
*raw
:PREROUTING ACCEPT [0:0]
:CILIUM_PRE_raw - [0:0]
-A CILIUM_PRE_raw -m mark --mark 0x200/0xf00 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
COMMIT
`;

test("of shared rules, Cilium's go and everybody else's stay", () => {
  const left = withoutCilium(saved);
  assert.doesNotMatch(left, /CILIUM/);
  assert.match(left, /-A PREROUTING -j DOCKER/);
  assert.deepEqual(unusedTables(left), ["raw"]);
  assert.deepEqual(unusedTables(saved), []);
});

test("a template's unknown name is an error, not an empty string", () => {
  assert.equal(fillIn("a @b@ c", { b: "x" }), "a x c");
  assert.throws(() => fillIn("@other@", { b: "x" }), /@other@/);
});

test("a package counts as missing unless it is installed", () => {
  const missing = missingPackages(new Set(["buildah", "nftables"]));
  assert.ok(missing.includes("mmdebstrap") && !missing.includes("buildah"));
});
