import type { BaseStatus } from "@paddock/api/object";
import { type Receipt, createExpectations } from "./expectations.ts";
import type { Action, Announcement, Fault, Key, Kind, Read, Self } from "./kind.ts";
import { type Queue, createQueue } from "./queue.ts";
import { type PassResult, reconcile } from "./reconcile.ts";

/** A queue of keys of one kind and what is done with them. */
export interface Controller extends Pick<Queue, "start" | "pause" | "stop" | "idle" | "depth"> {
  readonly name: string;
  wake(key: Key): void;
}

/** What the kernel tells about a pass; logs and metrics are made from it. */
export interface PassReport extends PassResult {
  readonly kind: string;
  readonly key: Key;
  readonly durationMs: number;
}

export interface ControllerOptions {
  readonly name: string;
  readonly workers: number;
  /** One pass; never throws. Receipts of its writes go to `note`. */
  pass(key: Key, note: (receipt: Receipt) => void): Promise<PassResult>;
  report(pass: PassReport): void;
}

export function createController({ name, workers, pass, report }: ControllerOptions): Controller {
  const expectations = createExpectations(() => performance.now());
  const queue = createQueue({
    workers,
    work: async (text) => {
      const restMs = expectations.restMs(text);
      if (restMs !== undefined) return { failed: false, rested: true, requeueAfterMs: restMs };
      const key = parseKey(text);
      const startedAt = performance.now();
      const result = await pass(key, (receipt) => expectations.note(text, receipt));
      report({ ...result, kind: name, key, durationMs: performance.now() - startedAt });
      return { failed: result.fault?.retry === true, ...(result.requeueAfterMs === undefined ? {} : { requeueAfterMs: result.requeueAfterMs }) };
    },
  });
  return { name, start: queue.start, pause: queue.pause, stop: queue.stop, idle: queue.idle, depth: queue.depth, wake: (key) => queue.wake(keyText(key)) };
}

/** The writer as the kernel uses it: each accepted write answers with its receipt, if there is anything to wait for. */
export interface Writer {
  act(action: Action): Promise<Receipt | undefined>;
  status(self: Self<BaseStatus>, status: BaseStatus): Promise<Receipt | undefined>;
}

export interface KindPorts {
  readonly read: Read;
  readonly writer: Writer;
  /** Must not throw. */
  announce(self: Self<BaseStatus>, announcements: readonly Announcement[]): void;
  now(): Date;
  classify(error: unknown): Fault;
  report(pass: PassReport): void;
}

/** The controller of a kind: each pass is `reconcile`. */
export function kindController<World extends { readonly self: Self<Status> }, Status extends BaseStatus>(
  kind: Kind<World, Status>, workers: number, { read, writer, announce, now, classify, report }: KindPorts,
): Controller {
  return createController({
    name: kind.name,
    workers,
    report,
    pass: (key, note) => {
      const noteReceipt = (receipt: Receipt | undefined): void => {
        if (receipt !== undefined) note(receipt);
      };
      const write = {
        act: async (action: Action) => noteReceipt(await writer.act(action)),
        status: async (self: Self<Status>, status: Status) => noteReceipt(await writer.status(self, status)),
      };
      return reconcile(kind, key, { read, write, announce, now, classify });
    },
  });
}

/** `<namespace>/<name>`: how keys stand in maps and indexes. Neither part can hold a slash. */
export function keyText({ namespace, name }: Key): string {
  return `${namespace}/${name}`;
}

function parseKey(text: string): Key {
  const slash = text.indexOf("/");
  return { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}
