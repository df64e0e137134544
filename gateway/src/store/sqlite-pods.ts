import { text } from "./sqlite-connection.ts";
import type { Connection } from "./sqlite-connection.ts";
import type { Registration } from "./store.ts";

/** Inside a transaction. `isNewRunner`: the session's one writer is another pod now. */
export function insertRegistration(
  connection: Connection,
  registration: Registration,
): { readonly result: "registered" | "conflict" | "unknown-session"; readonly isNewRunner: boolean } {
  const { podUid, sessionUid, component, podName } = registration;
  const known = registrationOf(connection, podUid);
  if (known !== undefined) {
    return { result: known.sessionUid === sessionUid && known.component === component ? "registered" : "conflict", isNewRunner: false };
  }
  if (connection.one("SELECT 1 FROM records WHERE uid = ?", sessionUid) === undefined) return { result: "unknown-session", isNewRunner: false };
  connection.run("INSERT INTO pods (pod_uid, session_uid, component, pod_name) VALUES (?, ?, ?, ?)", podUid, sessionUid, component, podName);
  return { result: "registered", isNewRunner: component === "runner" };
}

export function registrationOf(connection: Connection, podUid: string): Registration | undefined {
  const row = connection.one("SELECT session_uid, component, pod_name FROM pods WHERE pod_uid = ?", podUid);
  if (row === undefined) return undefined;
  const component = text(row, "component") === "runner" ? "runner" : "sandbox";
  return { podUid, sessionUid: text(row, "session_uid"), component, podName: text(row, "pod_name") };
}
