import type { LogCorruptError, Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { LogWriter } from "./append.ts";

/** What is done about stored logs that are not what was appended: that session ends, the others and the gateway go on. */
export interface Damage {
  /** Marks the log and ends its session; resolves when that is stored. Reports of one log at a time share the work. Never rejects. */
  report(error: LogCorruptError): Promise<void>;
}

export interface DamagePorts {
  readonly store: Pick<Store, "record">;
  readonly writer: Pick<LogWriter, "finishCorrupt">;
  readonly logger: Pick<Logger, "error">;
  /** Told of each damaged log once. */
  count(): void;
}

export function createDamage({ store, writer, logger, count }: DamagePorts): Damage {
  const reporting = new Map<string, Promise<void>>();
  const end = async ({ uid, message: reason }: LogCorruptError): Promise<void> => {
    try {
      const before = await store.record(uid);
      if (before?.corrupt !== undefined && before.state.finished !== undefined) return;
      count();
      // What is stored after the damage may not be readable either: the record tells.
      const fault = await writer.finishCorrupt(uid, reason).then(() => undefined, (error: unknown) => error);
      const hasEnded = (await store.record(uid))?.state.finished !== undefined;
      const sentence = "a stored log is damaged: `paddock-gateway verify` says where, and a backup may have it whole";
      if (hasEnded) logger.error({ uid, reason }, `${sentence}; its session has ended with LogCorrupt`);
      else logger.error({ uid, reason, err: fault }, `${sentence}; its session could not be ended, which is tried again when the log is read again`);
    } catch (error) {
      logger.error({ err: error, uid, reason }, "a stored log is damaged, and its record cannot be read");
    }
  };
  return {
    report: (error) => {
      const running = reporting.get(error.uid) ?? end(error).finally(() => reporting.delete(error.uid));
      reporting.set(error.uid, running);
      return running;
    },
  };
}
