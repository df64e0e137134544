import { after, before } from "node:test";
import { until as untilWithin } from "../cluster/command.ts";
import { openProgress } from "../progress.ts";
import { type PostgresServer, startPostgres } from "./server.ts";

/** A server for all tests of a file, started before the first and removed after the last. Gives it; throws before it has started. */
export function postgresOfFile(): () => PostgresServer {
  let started: PostgresServer | undefined;
  before(async () => {
    started = await startPostgres(openProgress());
  });
  after(() => started?.remove());
  return () => {
    if (started === undefined) throw new Error("the server did not start");
    return started;
  };
}

/** Asks until it holds; throws with what was waited for after a minute: a bound against hanging, not an expectation of speed. */
export function until(probe: () => boolean | Promise<boolean>, what: string): Promise<void> {
  return untilWithin(async () => probe(), 60_000, () => `never: ${what}`);
}
