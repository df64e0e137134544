import type { Agent } from "@paddock/api/agent";
import type { Environment } from "@paddock/api/environment";
import { digestOf } from "@paddock/api/log/canonical";
import { LABELS, MANAGED_BY, ownerReference, traceIdOf } from "@paddock/api/names";
import type { Session, SessionSpec, SessionStatus } from "@paddock/api/session";
import type { ApprovalView, RecordView } from "@paddock/api/wire/records";
import type { Settings } from "../settings.ts";
import type { ClaimView, PodView } from "../sources.ts";
import type { SessionWorld } from "./observe.ts";

// Values that tests of this folder start from. All times count from START.

export const START = "2026-11-21T12:00:00.000Z";

/** START plus so many seconds. */
export function at(seconds: number): Date {
  return new Date(Date.parse(START) + seconds * 1000);
}

export const settings: Settings = {
  runnerImage: "ghcr.io/paddock/runner:0.1.0",
  sandboxImage: "ghcr.io/paddock/sandbox:0.1.0",
  imagePullPolicy: "IfNotPresent",
  gatewayUrl: "https://paddock-gateway.paddock-system.svc:8443",
  gatewayCa: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
  dnsPeers: [],
  privateRanges: ["10.0.0.0/8"],
  canaries: [],
  releaseNamespace: "paddock-system",
  propagatedLabels: [],
  logLevel: "info",
};

const meta = { namespace: "demo", resourceVersion: "1", generation: 1, creationTimestamp: START };

export const agent: Agent = {
  apiVersion: "paddock.dev/v1alpha1",
  kind: "Agent",
  metadata: { ...meta, name: "writer", uid: "agent-uid" },
  spec: { model: { name: "default" }, instructions: "Write.", tools: [{ name: "bash" }] },
};

export const environment: Environment = {
  apiVersion: "paddock.dev/v1alpha1",
  kind: "Environment",
  metadata: { ...meta, name: "standard", uid: "environment-uid" },
  spec: {
    models: [
      { name: "default", model: "gpt-5.2", baseURL: "https://api.openai.com/v1", apiKey: { secretKeyRef: { name: "openai", key: "api-key" } } },
      { name: "local", model: "llama", baseURL: "http://llama.models.svc:8000/v1" },
    ],
    network: { inCluster: [{ ports: [8000] }] },
  },
  status: { conditions: [{ type: "Ready", status: "True", reason: "Available", message: "", observedGeneration: 1, lastTransitionTime: START }] },
};

export function session({ spec = {}, status, metadata = {} }: { spec?: Partial<SessionSpec>; status?: SessionStatus; metadata?: Partial<Session["metadata"]> } = {}): Session {
  return {
    apiVersion: "paddock.dev/v1alpha1",
    kind: "Session",
    metadata: { ...meta, name: "notes", uid: "session-uid", ...metadata },
    spec: { agentRef: { name: "writer" }, environmentRef: { name: "standard" }, prompt: "Notes, please.", ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

export function record(change: Partial<RecordView> = {}): RecordView {
  return {
    uid: "session-uid",
    namespace: "demo",
    name: "notes",
    version: 1,
    activity: { kind: "Active" },
    bundle: {
      digest: "sha256:bundle",
      agentDigest: digestOf(agent.spec),
      environment: { name: environment.metadata.name, uid: environment.metadata.uid, digest: digestOf(environment.spec), spec: environment.spec },
      limits: { maxTurns: 100, timeoutSeconds: 600 },
      startTime: START,
      traceId: traceIdOf("session-uid"),
    },
    runner: { epoch: 0, connected: false, since: START },
    deadline: at(600).toISOString(),
    sandbox: { requested: 0, pending: false },
    cancelled: false,
    suspended: false,
    approvals: [],
    authors: [],
    lastSeq: 2,
    turns: 0,
    toolCalls: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0 },
    recentSteps: [],
    ...change,
  };
}

/** A call that waits for a decision, in the sample record. */
export function asked(call = "root/1/0"): ApprovalView {
  const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
  return { call, tool: "bash", fingerprint: digest("f"), summary: "command: git push", argumentsDigest: digest("a"), requestedAt: at(10).toISOString(), expiresAt: at(3610).toISOString() };
}

/** A pod of the sample session. */
export function pod(name: string, component: "runner" | "sandbox", { status = { phase: "Pending" }, metadata = {} }: { status?: PodView["status"]; metadata?: Partial<PodView["metadata"]> } = {}): PodView {
  return {
    metadata: {
      ...meta,
      name,
      uid: `uid-of-${name}`,
      labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.component]: component, [LABELS.sessionUid]: "session-uid" },
      ownerReferences: [ownerReference(session())],
      ...metadata,
    },
    spec: {},
    status,
  };
}

/** The claim for the sample session's workspace. */
export function claim(phase: string, metadata: Partial<ClaimView["metadata"]> = {}): ClaimView {
  return { metadata: { ...meta, name: "notes-w", uid: "uid-of-notes-w", labels: { [LABELS.managedBy]: MANAGED_BY }, ownerReferences: [ownerReference(session())], ...metadata }, status: { phase } };
}

/** The sample record of a session whose Environment keeps workspaces. */
export function keptRecord(change: Partial<RecordView> = {}, storageClassName?: string): RecordView {
  const { bundle } = record();
  const workspace = { persistence: "Session" as const, ...(storageClassName === undefined ? {} : { storageClassName }) };
  return record({ bundle: { ...bundle, environment: { ...bundle.environment, spec: { ...bundle.environment.spec, sandbox: { workspace } } } }, ...change });
}

export const running: PodView["status"] = { phase: "Running", podIP: "10.0.0.7", containerStatuses: [{ name: "main", state: { running: { startedAt: START } } }] };

export function failed(exitCode: number, { reason = "Error", finishedAt = START }: { reason?: string; finishedAt?: string } = {}): PodView["status"] {
  return { phase: "Failed", containerStatuses: [{ name: "main", state: { terminated: { exitCode, reason, finishedAt } } }] };
}

export function world(change: Partial<SessionWorld> = {}): SessionWorld {
  return { self: session(), settings, isRecordsSynced: true, record: undefined, agent, environment, budget: undefined, approvals: [], pods: [], strangers: [], ...change };
}

/** Status of a session whose n-th attempt is counted. */
export function attempted(attempts: number, change: Partial<NonNullable<SessionStatus["runner"]>> = {}): SessionStatus {
  return {
    startTime: START,
    turns: 0,
    toolCalls: 0,
    lastEventSeq: 2,
    runner: { podName: `notes-r${attempts}`, attempts, ...change },
    conditions: [
      { type: "Succeeded", status: "Unknown", reason: "Starting", message: "Pod notes-r1 is being started.", lastTransitionTime: START },
      { type: "Finished", status: "False", reason: "Starting", message: "", lastTransitionTime: START },
    ],
  };
}
