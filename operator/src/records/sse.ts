import { createLineCutter } from "../cluster/lines.ts";

/** A server-sent event as the records stream uses them. */
export interface ServerEvent {
  readonly type: string;
  readonly data: string;
  /** Id of this event or of the last one that had any; "" before the first. */
  readonly id: string;
}

/** Cuts a body into server-sent events (WHATWG HTML, "server-sent events"); lines end with LF or CRLF. Comments keep a stream alive and say nothing. */
export function createEventParser(): { push(chunk: Buffer): readonly ServerEvent[] } {
  const cutter = createLineCutter({ keepEmpty: true });
  let type = "";
  let data: string[] = [];
  let id = "";
  const take = (line: string): ServerEvent | undefined => {
    if (line === "") {
      const event = { type: type === "" ? "message" : type, data: data.join("\n"), id };
      const complete = data.length > 0;
      type = "";
      data = [];
      return complete ? event : undefined;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") type = value;
    else if (field === "data") data.push(value);
    else if (field === "id") id = value;
    return undefined;
  };
  return {
    push: (chunk) => cutter.push(chunk).map((line) => take(line.endsWith("\r") ? line.slice(0, -1) : line)).filter((event) => event !== undefined),
  };
}
