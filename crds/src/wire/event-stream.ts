/** One server-sent event (WHATWG HTML, "server-sent events"); comments and other fields are dropped. */
export interface ServerEvent {
  /** `message` when the sender named none. */
  readonly event: string;
  readonly data: string;
  /** Id of this event or of the last one that had any; "" before the first. */
  readonly id: string;
}

/** Longest event that is taken: a log event may have 1 MiB, a record or an assignment with its bundle a few. */
const MAX_EVENT_CHARS = 8 * 1024 * 1024;

/**
 * An incremental parser of `text/event-stream`: give it decoded text in pieces of any size, get the events that each piece completes. Lines end
 * with LF or CRLF. The returned function throws RangeError when an event grows beyond 8 Mi characters.
 */
export function createEventParser(): (text: string) => readonly ServerEvent[] {
  // Pieces of the line under way are joined once, at its end: joining at each piece is quadratic for long lines.
  let pieces: string[] = [];
  let event = "";
  let data: string[] = [];
  let id = "";
  let chars = 0;

  const complete = (): ServerEvent | undefined => {
    const done = data.length === 0 ? undefined : { event: event === "" ? "message" : event, data: data.join("\n"), id };
    event = "";
    data = [];
    chars = 0;
    return done;
  };

  const takeLine = (line: string): ServerEvent | undefined => {
    if (line === "") return complete();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
    else if (field === "id") id = value;
    return undefined;
  };

  const count = (more: number): void => {
    chars += more;
    if (chars > MAX_EVENT_CHARS) throw new RangeError(`an event of the stream is longer than ${MAX_EVENT_CHARS} characters`);
  };

  return (text) => {
    const events: ServerEvent[] = [];
    const lines = text.split("\n");
    const rest = lines.pop() ?? "";
    for (const end of lines) {
      count(end.length);
      const line = pieces.length === 0 ? end : pieces.join("") + end;
      pieces = [];
      const done = takeLine(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (done !== undefined) events.push(done);
    }
    count(rest.length);
    if (rest !== "") pieces.push(rest);
    return events;
  };
}
