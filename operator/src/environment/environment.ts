import type { EnvironmentStatus } from "@paddock/api/environment";
import type { Kind } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import { decideEnvironment, explainEnvironment } from "./decide.ts";
import { type EnvironmentWorld, observeEnvironment } from "./observe.ts";

/** An Environment and what must stand in its namespace before any pod does. `settings` is called in each observation. */
export function environmentKind(settings: () => Settings): Kind<EnvironmentWorld, EnvironmentStatus> {
  return {
    name: "Environment",
    observe: (read, key) => observeEnvironment(read, key, settings()),
    decide: decideEnvironment,
    explain: explainEnvironment,
  };
}
