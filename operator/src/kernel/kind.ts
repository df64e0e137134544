import type { BaseStatus, ObjectMeta, OwnerReference } from "@paddock/api/object";
import type { Claim } from "@paddock/api/conditions";
import type { NewEvent } from "@paddock/api/log/events";
import type { ConfigMapKeyRef } from "@paddock/api/refs";
import type { BudgetRequest, RecordRequest, PodRegistration } from "@paddock/api/wire/records";

/** Namespace and name of an object; what the queue holds. */
export interface Key {
  readonly namespace: string;
  readonly name: string;
}

/** Anything with a kind, a name and a namespace, as it goes to the API server. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly OwnerReference[];
  };
}

/** An object as a cache holds it. */
export interface Observed {
  readonly metadata: ObjectMeta;
}

/**
 * A kind of thing that is observed, as a typed token: a resource of the API server, or the gateway's records. `index` names the
 * look-ups its cache keeps besides namespace and name.
 */
export interface Source<T> {
  readonly name: string;
  /** Type of the cached value; never read. */
  readonly of?: T;
}

/** The observed world: caches only, synchronous, never throws. */
export interface Read {
  get<T>(source: Source<T>, key: Key): T | undefined;
  /** Values whose index `index` has the value `value`; [] when there is none. */
  list<T>(source: Source<T>, index: string, value: string): readonly T[];
  /** False until the initial list of the source is complete: absence proves nothing before. */
  isSynced<T>(source: Source<T>): boolean;
}

/** What a decision may ask for: the only writes there are. Each is idempotent. */
export type Action =
  /**
   * Create; `access` is asked by SubjectAccessReview right before, and a refusal is the fault access-denied. "Already exists" is success when it has the same owner UID (or, without an owner, our managed-by label), else
   * NameConflict.
   */
  | { readonly verb: "create"; readonly object: Manifest; readonly access?: AccessCheck }
  /** A dry run of a create: the API server's admission looks at the object and nothing is made. A refusal is a fault. */
  | { readonly verb: "preflight"; readonly object: Manifest }
  /** Server-side apply with our field manager, for objects without a life of their own (policies, service accounts). Same NameConflict rule. */
  | { readonly verb: "apply"; readonly object: Manifest }
  /**
   * Delete with UID as precondition; absent is success. `graceSeconds`: instead of the pod's own. `unless`: not while a live GET still finds this Session,
   * which a cache does not show.
   */
  | { readonly verb: "delete"; readonly resource: "Pod" | "Session"; readonly key: Key; readonly uid: string; readonly graceSeconds?: number; readonly unless?: { readonly session: Key; readonly uid: string } }
  /**
   * Create the session's record at the gateway. The writer adds the namespace's UID from a live GET (a cache could be of an older
   * namespace) and the texts that are kept in ConfigMaps, also by live GETs; what is missing is the fault missing-reference.
   */
  | { readonly verb: "bind"; readonly uid: string; readonly record: BindRecord }
  | { readonly verb: "register"; readonly podUid: string; readonly registration: PodRegistration }
  /** `access` as with create. `patienceMs`: how long an answer is waited for, where something else must not wait for it. */
  | { readonly verb: "append"; readonly uid: string; readonly events: readonly NewEvent[]; readonly access?: AccessCheck; readonly patienceMs?: number }
  | { readonly verb: "acknowledge"; readonly uid: string }
  /** What all sessions of an Environment share from now on, told to the gateway. */
  | { readonly verb: "budget"; readonly environmentUid: string; readonly budget: BudgetRequest }
  /** Cancel and finish a record whose Session is gone; a live GET by UID must confirm that first. */
  | { readonly verb: "abandon"; readonly uid: string; readonly key: Key };

/** May this person do this? Names as in `authorization.k8s.io/v1` SubjectAccessReview. */
export interface AccessCheck {
  readonly user: string;
  readonly groups: readonly string[];
  readonly namespace: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly name: string;
}

/** A record before the texts that it refers to were read: each `…From` that is there replaces what the bundle holds in its place. */
export interface BindRecord {
  readonly bundle: RecordRequest["bundle"];
  readonly prompt: string | undefined;
  readonly promptFrom?: ConfigMapKeyRef;
  readonly instructionsFrom?: ConfigMapKeyRef;
  readonly filesFrom?: readonly { readonly path: string; readonly configMapKeyRef: ConfigMapKeyRef }[];
}

/** What one pass wants: writes in order, what status is to say, and when to look again without being woken. */
export interface Plan<Status extends BaseStatus> {
  readonly actions: readonly Action[];
  /** Conditions; each kind gives all it has, abnormal-true ones only while they hold. undefined leaves status as it is. */
  readonly claims: readonly Claim[] | undefined;
  /** The other fields of status, whole. undefined keeps what is there. */
  readonly status?: Omit<Status, "conditions" | "observedGeneration">;
  /** What claims and status are instead when an action failed; absent means the same. Pure. */
  onFault?(fault: Fault): Pick<Plan<Status>, "claims" | "status">;
  readonly requeueAfterMs?: number;
}

/** A kind of resource and how it is reconciled. `observe` returns undefined when the object is gone; `decide` is pure. */
export interface Kind<World extends { readonly self: Self<Status> }, Status extends BaseStatus> {
  readonly name: string;
  observe(read: Read, key: Key): World | undefined;
  decide(world: World, now: Date): Plan<Status>;
  /** Claims that tell a failed action to the object's readers; the plan's own claims stay where it says nothing. */
  explain?(world: World, fault: Fault): readonly Claim[];
  /** Events for people about a change of status that was just written: few, warnings only. Pure. */
  announce?(before: Status | undefined, after: Status): readonly Announcement[];
}

/** A Kubernetes Event on the object itself, before the recorder counts repetitions. */
export interface Announcement {
  readonly type: "Normal" | "Warning";
  /** CamelCase, at most 128 characters. */
  readonly reason: string;
  readonly message: string;
}

export interface Self<Status extends BaseStatus> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly status?: Status;
}

/**
 * A failed action, classified. `retry`: true goes to the queue's back-off; false is looked at again after the time that faults.ts gives its kind.
 * Conflict is silent. `not-leader`: nothing was sent, and status is not written either. `programming` errors are counted apart and logged with
 * their stack.
 */
export interface Fault {
  readonly kind: "conflict" | "name-conflict" | "forbidden" | "invalid" | "namespace-terminating" | "access-denied" | "missing-reference" | "unavailable" | "log-conflict" | "not-leader" | "programming";
  readonly message: string;
  readonly retry: boolean;
  readonly cause: unknown;
}

/** What a pass needs from outside, as parameters. */
export interface Ports<Status extends BaseStatus> {
  readonly read: Read;
  readonly write: {
    act(action: Action): Promise<void>;
    status(self: Self<Status>, status: Status): Promise<void>;
  };
  /** Events about an object; must not throw, and nothing waits for them. */
  announce(self: Self<Status>, announcements: readonly Announcement[]): void;
  now(): Date;
  classify(error: unknown): Fault;
}
