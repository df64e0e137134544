import type { Logger } from "pino";
import type { Assignment } from "@paddock/api/wire/runner";
import type { IsolationReport } from "@paddock/api/wire/sandbox";
import { LinkLost, openLink } from "./link.ts";
import type { Link, LinkPorts } from "./link.ts";

/** Links to one sandbox that broke before it is given up as one that cannot be held. */
const MAX_BREAKS = 3;

/** How far this process is with a sandbox. */
export interface HandsState {
  readonly podUid: string;
  readonly phase: "ready" | "failed";
  readonly reason: string;
  /** What a ready one reached before it was bound; absent when its tool server does not tell. */
  readonly isolation?: IsolationReport;
}

/** The one sandbox that this process holds or has tried to hold. */
export interface Hands {
  state(): HandsState | undefined;
  link(): Link | undefined;
  /** Binds a sandbox; resolves when it is ready or has failed, or was let go, or `signal` aborted. */
  connect(pod: { readonly podUid: string; readonly address: string }, signal: AbortSignal): Promise<void>;
  /** Lets go of any sandbox but this one: it was lost, or replaced. */
  keepOnly(podUid: string | undefined): void;
  close(): void;
}

export interface HandsPorts {
  readonly assignment: Assignment;
  readonly port: number;
  readonly link: LinkPorts;
  readonly logger: Logger;
  /** Told when a sandbox was let go. */
  readonly onChange: () => void;
}

export function createHands({ assignment, port, link: ports, logger, onChange }: HandsPorts): Hands {
  const { bundle, bindKey, epoch } = assignment;
  let state: HandsState | undefined;
  let link: Link | undefined;
  let connecting: { readonly podUid: string; readonly given: AbortController } | undefined;
  const breaks = new Map<string, number>();

  const onClosed = (podUid: string, reason: string): void => {
    const count = (breaks.get(podUid) ?? 0) + 1;
    breaks.set(podUid, count);
    logger.warn({ podUid, reason, count }, "the sandbox was let go");
    link = undefined;
    state = count >= MAX_BREAKS ? { podUid, phase: "failed", reason: `the connection to the sandbox broke ${count} times: ${reason}` } : undefined;
    onChange();
  };
  const letGo = (reason: string): void => {
    const held = link;
    link = undefined;
    state = undefined;
    held?.close(reason);
  };
  return {
    state: () => state,
    link: () => link,
    async connect({ podUid, address }, signal) {
      const given = new AbortController();
      const stopped = AbortSignal.any([signal, given.signal]);
      connecting = { podUid, given };
      const keepExisting = bundle.environment.spec.sandbox?.workspace?.persistence === "Session";
      const target = { host: address, port, bindKey, epoch, session: bundle.session.uid, files: bundle.files ?? [], keepExisting };
      try {
        const opened = await openLink(target, ports, stopped);
        link = opened;
        state = { podUid, phase: "ready", reason: "", ...(opened.isolation === undefined ? {} : { isolation: opened.isolation }) };
        logger.info({ podUid }, "the sandbox is bound");
        void opened.closed.then((reason) => {
          if (link === opened) onClosed(podUid, reason);
        });
      } catch (error) {
        if (stopped.aborted) return;
        if (!(error instanceof LinkLost)) throw error;
        logger.warn({ podUid, error: error.message }, "the sandbox cannot be used");
        state = { podUid, phase: "failed", reason: error.message };
      } finally {
        connecting = undefined;
      }
    },
    keepOnly(podUid) {
      if (connecting !== undefined && connecting.podUid !== podUid) connecting.given.abort();
      if (state !== undefined && state.podUid !== podUid) letGo("the sandbox was lost");
    },
    close: () => letGo("the runner ends"),
  };
}
