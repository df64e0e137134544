import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import type { ProblemType } from "@paddock/api/wire/problem";
import type { Admission } from "../admission.ts";

/** One question of a table: may this event be appended to a session in this state? `how` is who asks, when, and under which bundle. */
export type Row<How> = readonly [state: SessionState, appended: NewEvent, how?: How];

/** Tests by rows: each says what the answer to one question is. */
export interface Rows<How> {
  accepts(name: string, ...row: Row<How>): void;
  /** With a problem of this type, and a sentence that says this. */
  refuses(name: string, expected: readonly [problem: ProblemType, refusal: "final" | "wait", sentence?: RegExp], ...row: Row<How>): void;
  /** The event is known already, as this. */
  knows(name: string, expected: object, ...row: Row<How>): void;
}

export function rowsOf<How>(ask: (...row: Row<How>) => Admission): Rows<How> {
  return {
    accepts: (name, ...row) => {
      test(`accepts ${name}`, () => assert.deepEqual(withoutGrant(ask(...row)), { kind: "accept", event: row[1] }));
    },
    refuses: (name, [problem, refusal, sentence = /^.{20,}$/s], ...row) => {
      test(`refuses ${name} as ${problem}, ${refusal}`, () => {
        const answer = ask(...row);
        assert.equal(answer.kind, "refuse");
        if (answer.kind !== "refuse") return;
        assert.deepEqual([answer.problem, answer.refusal], [problem, refusal]);
        assert.match(answer.detail, sentence);
      });
    },
    knows: (name, expected, ...row) => {
      test(`knows ${name}`, () => assert.deepEqual(ask(...row), { kind: "known", ...expected }));
    },
  };
}

/** What a request is granted has its own tables. */
function withoutGrant(answer: Admission): Admission {
  if (answer.kind !== "accept" || answer.event.type !== "model.requested") return answer;
  const { grant: _, ...data } = answer.event.data;
  return { ...answer, event: { type: answer.event.type, data } };
}
