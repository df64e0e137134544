import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Contender, type Line, admitted, orderFairly } from "./queue.ts";

const contender = (uid: string, creator: string, second: number, isHindered = false): Contender => ({ uid, creator, createdAt: `2026-11-21T12:00:${String(second).padStart(2, "0")}Z`, isHindered });
const uids = (contenders: readonly Contender[]): readonly string[] => contenders.map(({ uid }) => uid);

test("first come, first served within a creator; equal seconds by UID", () => {
  const contenders = [contender("c", "ann", 3), contender("b", "ann", 1), contender("a", "ann", 1)];
  assert.deepEqual(uids(orderFairly({ holders: [], contenders })), ["a", "b", "c"]);
});

test("a creator with a hundred sessions keeps nobody else waiting behind all of them", () => {
  const crowd = Array.from({ length: 50 }, (_, n) => contender(`ann-${n}`, "ann", 0));
  const order = uids(orderFairly({ holders: [], contenders: [...crowd, contender("bob-1", "bob", 9), contender("bob-2", "bob", 9)] }));
  assert.deepEqual([order.indexOf("bob-1"), order.indexOf("bob-2")], [1, 3]);
});

test("who runs least goes first, however late", () => {
  const contenders = [contender("a", "ann", 0), contender("b", "bob", 5), contender("c", "cy", 9)];
  assert.deepEqual(uids(orderFairly({ holders: ["ann", "ann", "bob"], contenders })), ["c", "b", "a"]);
});

test("who came back with something missing goes behind all others", () => {
  const contenders = [contender("old", "ann", 0, true), contender("new", "bob", 9)];
  assert.deepEqual(uids(orderFairly({ holders: ["bob", "bob"], contenders })), ["new", "old"]);
});

const creators = fc.constantFrom("ann", "bob", "cy", "");
const lines: fc.Arbitrary<Line> = fc.record({
  limit: fc.integer({ min: 1, max: 12 }),
  holders: fc.array(creators, { maxLength: 15 }),
  contenders: fc
    .uniqueArray(fc.record({ uid: fc.string({ minLength: 1, maxLength: 4 }), creator: creators, second: fc.nat(20), isHindered: fc.boolean() }), { maxLength: 20, selector: ({ uid }) => uid })
    .map((all) => all.map(({ uid, creator, second, isHindered }) => contender(uid, creator, second, isHindered))),
});

test("the order is that of letting in, again and again, whose creator has the fewest", () => {
  fc.assert(
    fc.property(lines, ({ holders, contenders }) => {
      const running = [...holders];
      let left = [...contenders];
      const expected: string[] = [];
      while (left.length > 0) {
        const count = ({ creator }: Contender): number => running.filter((other) => other === creator).length;
        const [first] = left.toSorted((a, b) => Number(a.isHindered) - Number(b.isHindered) || count(a) - count(b) || (a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : a.uid < b.uid ? -1 : 1));
        if (first === undefined) break;
        expected.push(first.uid);
        running.push(first.creator);
        left = left.filter((other) => other !== first);
      }
      assert.deepEqual(uids(orderFairly({ holders, contenders })), expected);
    }),
  );
});

test("as many are let in as slots are free, they are the first of the order, and the order of arrival in the cache does not matter", () => {
  fc.assert(
    fc.property(lines, (line) => {
      const free = Math.max(0, line.limit - line.holders.length);
      const inside = uids(admitted(line));
      assert.equal(inside.length, Math.min(free, line.contenders.length));
      assert.deepEqual(inside.toSorted(), uids(orderFairly(line)).slice(0, free).toSorted());
      assert.deepEqual(uids(orderFairly({ ...line, contenders: line.contenders.toReversed() })), uids(orderFairly(line)));
    }),
  );
});

test("with all slots in steady use no creator with sessions waiting gets two slots more than another one", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.record({ uid: fc.string({ minLength: 1, maxLength: 4 }), creator: fc.constantFrom("ann", "bob", "cy"), second: fc.nat(20) }), { minLength: 1, maxLength: 30, selector: ({ uid }) => uid }), fc.integer({ min: 1, max: 9 }), (all, limit) => {
      const contenders = all.map(({ uid, creator, second }) => contender(uid, creator, second));
      const inside = admitted({ limit, holders: [], contenders });
      const waiting = contenders.filter((one) => !inside.includes(one));
      const countOf = (creator: string): number => inside.filter((one) => one.creator === creator).length;
      for (const { creator } of waiting) for (const other of inside) assert.ok(countOf(other.creator) <= countOf(creator) + 1);
    }),
  );
});
