/** Sentences of refusals for those who hear them while a call runs. */
export interface Refusals {
  add(message: string): void;
  /** Hears from now on; what it returns ends that and gives what was heard, each sentence once, or undefined. */
  listen(): () => string | undefined;
}

/** A note of a result has room for so many sentences of so many characters. */
const MOST_SENTENCES = 3;
const MOST_CHARACTERS = 480;

/**
 * What was refused while a call ran is said beside its result. A program's own output seldom holds it: curl, git and npm show the status of a refused
 * CONNECT and drop the text that says which host it was and what to change. Calls that run at the same time hear the same.
 */
export function createRefusals(): Refusals {
  const listeners = new Set<(message: string) => void>();
  return {
    add(message) {
      for (const hear of listeners) hear(message);
    },
    listen() {
      const heard = new Set<string>();
      let others = 0;
      const hear = (message: string): void => {
        const sentence = message.length > MOST_CHARACTERS ? `${message.slice(0, MOST_CHARACTERS - 1)}…` : message;
        if (heard.has(sentence)) return;
        if (heard.size < MOST_SENTENCES) heard.add(sentence);
        else others += 1;
      };
      listeners.add(hear);
      return () => {
        listeners.delete(hear);
        if (heard.size === 0) return undefined;
        return [...heard, ...(others === 0 ? [] : [`${others} more connections and requests were refused.`])].join("\n");
      };
    },
  };
}
