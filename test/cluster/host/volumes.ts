import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { kubectl } from "../checkout.ts";
import { adminKubeconfig, configDir, nodeName, volumesDir } from "./layout.ts";

const volumeNames = ["local-1", "local-2", "local-3", "local-4", "local-5", "local-6"] as const;

/** Creates the default StorageClass and its volumes: folders of the machine. */
export async function makeVolumes(): Promise<void> {
  for (const name of volumeNames) emptyFolder(name);
  const volumes = JSON.stringify({ apiVersion: "v1", kind: "List", items: volumeNames.map(buildVolume) });
  await kubectl(adminKubeconfig, ["create", "--validate=false", "-f", join(configDir, "volumes.yaml")]);
  await kubectl(adminKubeconfig, ["create", "--validate=false", "-f", "-"], { input: volumes });
}

/** Empties the volumes whose claim is gone and offers them again; nothing else would, as they have no provisioner. */
export async function recycleVolumes(): Promise<void> {
  const { items } = JSON.parse(await kubectl(adminKubeconfig, ["get", "persistentvolumes", "-o", "json"])) as {
    items: readonly { metadata: { name: string }; status: { phase: string } }[];
  };
  const released = items.filter(({ metadata, status }) => status.phase === "Released" && volumeNames.some((name) => name === metadata.name));
  for (const { metadata: { name } } of released) {
    emptyFolder(name);
    await kubectl(adminKubeconfig, ["patch", "persistentvolume", name, "--type=json", "-p", '[{"op":"remove","path":"/spec/claimRef"}]']);
  }
}

/** Pure. */
function buildVolume(name: string): unknown {
  return {
    apiVersion: "v1", kind: "PersistentVolume", metadata: { name },
    spec: {
      capacity: { storage: "10Gi" }, accessModes: ["ReadWriteOnce"], persistentVolumeReclaimPolicy: "Retain", storageClassName: "local",
      local: { path: join(volumesDir, name) },
      nodeAffinity: {
        required: { nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [nodeName] }] }] },
      },
    },
  };
}

function emptyFolder(name: string): void {
  const folder = join(volumesDir, name);
  if (existsSync(folder)) rmSync(folder, { recursive: true });
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
}
