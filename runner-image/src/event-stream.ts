/** One server-sent event as it arrived; comments and fields of no use here are dropped. */
export interface ServerEvent {
  /** `message` when the sender named none. */
  readonly event: string;
  readonly data: string;
}

/** Longest event that is taken: a log event may have 1 MiB, an assignment with its bundle less. */
const MAX_EVENT_CHARS = 8 * 1024 * 1024;

/**
 * An incremental parser of `text/event-stream`: give it decoded text in pieces of any size, get the events that each piece completes.
 * The returned function throws RangeError when an event grows beyond 8 Mi characters.
 */
export function createEventParser(): (text: string) => readonly ServerEvent[] {
  let rest = "";
  let event = "";
  let data: string[] = [];
  let chars = 0;

  const takeLine = (line: string): ServerEvent | undefined => {
    if (line === "") {
      const complete = data.length === 0 ? undefined : { event: event === "" ? "message" : event, data: data.join("\n") };
      event = "";
      data = [];
      chars = 0;
      return complete;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") event = value;
    if (field === "data") data.push(value);
    chars += value.length;
    return undefined;
  };

  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    const complete = lines.map((line) => takeLine(line.endsWith("\r") ? line.slice(0, -1) : line)).filter((one) => one !== undefined);
    if (chars + rest.length > MAX_EVENT_CHARS) throw new RangeError(`an event of the stream is longer than ${MAX_EVENT_CHARS} characters`);
    return complete;
  };
}
