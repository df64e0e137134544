import type { LogCorruptError, Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { LogWriter } from "./append.ts";

/** What is done about stored logs that are not what was appended: that session ends, the others and the gateway go on. */
export interface Damage {
  /** Marks the log and ends its session; resolves when that is stored. Reports of one log at a time share the work. Never rejects. */
  report(error: LogCorruptError): Promise<void>;
}

export interface DamagePorts {
  readonly store: Pick<Store, "markCorrupt">;
  readonly writer: Pick<LogWriter, "finishCorrupt">;
  readonly logger: Pick<Logger, "error">;
  /** Told of each report. */
  count(): void;
}

export function createDamage({ store, writer, logger, count }: DamagePorts): Damage {
  const reporting = new Map<string, Promise<void>>();
  const end = async ({ uid, message }: LogCorruptError): Promise<void> => {
    count();
    try {
      await store.markCorrupt(uid, message);
      const ended = await writer.finishCorrupt(uid, message);
      const outcome = ended?.kind === "refuse" ? ended.detail : "the session has ended with LogCorrupt";
      logger.error({ uid, reason: message, outcome }, "a stored log is damaged: compare with `paddock-gateway verify`, and restore a backup if it is of worth");
    } catch (error) {
      logger.error({ err: error, uid, reason: message }, "a stored log is damaged, and its session could not be ended");
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
