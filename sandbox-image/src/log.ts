/** Writes one line of JSON. Fields never hold what a command, an argument or a file says: those belong to the session. */
export type Log = (level: "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, string | number | boolean>>) => void;

export function openLog(write: (line: string) => void): Log {
  return (level, message, fields = {}) => {
    const line = JSON.stringify({ time: new Date().toISOString(), level, message, ...fields });
    // JSON leaves some control characters as they are, which a terminal obeys.
    write(`${line.replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`);
  };
}
