import type { EventDataOf, NewEvent } from "@paddock/api/log/events";

/** Most bytes of a result that go into the log, whatever the sandbox sends. */
export const RESULT_BYTES = 65_536;

type Finished = EventDataOf<"tool.finished">;

/** The one result of a call, cut to what the log takes. `bytes` is the size of the whole result where the content was cut before. */
export function finishedEvent(
  call: string,
  result: Pick<Finished, "status" | "content"> & Partial<Pick<Finished, "bytes" | "truncated" | "seconds">> & { readonly note?: string | undefined },
): NewEvent {
  const { text, truncated } = cutText(result.content, RESULT_BYTES);
  const data: Finished = {
    call,
    status: result.status,
    content: text,
    bytes: result.bytes ?? Buffer.byteLength(result.content),
    seconds: result.seconds ?? 0,
    ...(truncated || result.truncated === true ? { truncated: true } : {}),
    ...(result.note === undefined ? {} : { note: result.note }),
  };
  return { type: "tool.finished", data };
}

/**
 * Text of at most `most` bytes of UTF-8: the start and the end with a line between that states the real size; whole characters only. Pure.
 */
export function cutText(text: string, most: number): { readonly text: string; readonly truncated: boolean } {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return { text, truncated: false };
  const mark = `\n[… cut here: ${bytes.length} bytes in all …]\n`;
  const half = Math.max(0, Math.floor((most - Buffer.byteLength(mark)) / 2));
  const head = bytes.subarray(0, startOfCharacter(bytes, half)).toString();
  const tail = bytes.subarray(endOfCharacter(bytes, bytes.length - half)).toString();
  return { text: `${head}${mark}${tail}`, truncated: true };
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

function startOfCharacter(bytes: Buffer, at: number): number {
  let start = at;
  while (start > 0 && isContinuation(bytes[start])) start -= 1;
  return start;
}

function endOfCharacter(bytes: Buffer, at: number): number {
  let end = at;
  while (end < bytes.length && isContinuation(bytes[end])) end += 1;
  return end;
}
