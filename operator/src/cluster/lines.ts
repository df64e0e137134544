import { StringDecoder } from "node:string_decoder";

/** Cuts a byte stream into lines; a line may come in any number of pieces, characters may be cut. Empty lines are left out. */
export interface LineCutter {
  push(chunk: Buffer): readonly string[];
}

export function createLineCutter(): LineCutter {
  const decoder = new StringDecoder("utf8");
  // Pieces of the line under way are kept apart and joined once: joining at each chunk is quadratic for long lines.
  let pieces: string[] = [];
  return {
    push: (chunk) => {
      const [first = "", ...rest] = decoder.write(chunk).split("\n");
      pieces.push(first);
      if (rest.length === 0) return [];
      const last = rest.pop() ?? "";
      const lines = [pieces.join(""), ...rest];
      pieces = [last];
      return lines.filter((line) => line !== "");
    },
  };
}
