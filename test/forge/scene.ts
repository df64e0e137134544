import { randomBytes } from "node:crypto";
import type { Condition } from "@paddock/api/object";
import type { LogEvent } from "@paddock/api/log/events";
import { apply, buildAgent, buildEnvironment } from "../e2e/lab.ts";
import { get } from "../e2e/kubectl.ts";
import { openNamespace } from "../e2e/namespace.ts";
import { openGateway, readLog, userToken } from "../e2e/people.ts";
import type { PeopleClient } from "../e2e/people.ts";
import { FORGE_CA, FORGE_PEER, FORGE_SECRET, deployForge } from "./deploy.ts";
import type { DeployedForge } from "./deploy.ts";

// A namespace with a forge in it, and Environments whose sandboxes reach the forge through the proxy.

export interface ForgeScene {
  readonly namespace: string;
  readonly forge: DeployedForge;
  /** The forge's credential; no sandbox may ever hold it. Its shape is what `CANARY` finds. */
  readonly token: string;
  log(session: string): Promise<LogEvent[]>;
  close(): void;
}

/** What a token of these tests looks like, for programs in sandboxes that search for it and must not be told it. */
export const CANARY = "forge-[0-9a-f]{32}";

export function makeToken(): string {
  return `forge-${randomBytes(16).toString("hex")}`;
}

export async function openForgeScene(prefix: string, options: { readonly withSecret?: boolean } = {}): Promise<ForgeScene> {
  const namespace = await openNamespace(prefix);
  const token = makeToken();
  const forge = await deployForge(namespace, options.withSecret === false ? undefined : token);
  await apply(namespace, buildAgent("agent"));
  const person = await userToken(namespace);
  let gateway: PeopleClient = await openGateway();
  return {
    namespace, forge, token,
    // The port-forward ends with the gateway's pod: then another one reads.
    log: async (session) => {
      try {
        return await readLog(gateway, namespace, session, person);
      } catch (error) {
        gateway.close();
        gateway = await openGateway();
        if (!isConnection(error)) throw error;
        return readLog(gateway, namespace, session, person);
      }
    },
    close: () => gateway.close(),
  };
}

function isConnection(error: unknown): boolean {
  return error instanceof Error && "code" in error;
}

const MODEL_PEER = { podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] };

/** An Environment that may reach the forge: `network` and the rest of spec as said, over what every such Environment has. */
export function buildForgeEnvironment(name: string, network: object, spec: object = {}): object {
  const all = { inCluster: [MODEL_PEER, FORGE_PEER], caBundle: { configMapKeyRef: FORGE_CA }, ...network };
  return buildEnvironment(name, { spec: { network: all, ...spec } });
}

/** An entry of spec.credentials with the forge's token. */
export function buildForgeCredential(name: string, host: string, rest: object): object {
  return { name, secretKeyRef: FORGE_SECRET, hosts: [host], ...rest };
}

/** What the tools of a session answered the model, in order: the result, and what Paddock says beside it. */
export function resultsOf(events: readonly LogEvent[]): readonly string[] {
  return events.flatMap((event) => (event.type === "tool.finished" ? [[event.data.content, event.data.note ?? ""].join("\n").trim()] : []));
}

/** The condition of an object, as it stands. */
export async function conditionOf(kind: string, name: string, namespace: string, type: string): Promise<Condition | undefined> {
  const object = await get<{ status?: { conditions?: readonly Condition[] } }>(kind, name, namespace);
  return object?.status?.conditions?.find((condition) => condition.type === type);
}
