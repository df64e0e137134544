import assert from "node:assert/strict";
import { test } from "node:test";
import { createExpiringCache } from "./cache.ts";

test("a value is loaded once until it expires, also when many ask at once", async () => {
  let now = 0;
  let loads = 0;
  const cache = createExpiringCache<number>(10, () => now);
  const load = async (): Promise<{ value: number; keepMs: number }> => ({ value: (loads += 1), keepMs: 100 });
  assert.deepEqual(await Promise.all([cache.get("a", load), cache.get("a", load)]), [1, 1]);
  now = 99;
  assert.equal(await cache.get("a", load), 1);
  now = 100;
  assert.equal(await cache.get("a", load), 2);
});

test("what is not to be kept, or failed, is loaded again", async () => {
  let loads = 0;
  const cache = createExpiringCache<number>(10, () => 0);
  const load = async (): Promise<{ value: number; keepMs: number }> => {
    loads += 1;
    if (loads === 1) throw new Error("down");
    return { value: loads, keepMs: 0 };
  };
  await assert.rejects(cache.get("a", load), /down/);
  assert.equal(await cache.get("a", load), 2);
  assert.equal(await cache.get("a", load), 3);
});

test("the oldest value goes when there are too many", async () => {
  const loaded: string[] = [];
  const cache = createExpiringCache<string>(2, () => 0);
  const get = (key: string): Promise<string> =>
    cache.get(key, async () => {
      loaded.push(key);
      return { value: key, keepMs: 100 };
    });
  for (const key of ["a", "b", "c", "b", "c", "a"]) await get(key);
  assert.deepEqual(loaded, ["a", "b", "c", "a"]);
});

test("many minor values displace none of the others", async () => {
  const loaded: string[] = [];
  const cache = createExpiringCache<string>(2, () => 0);
  const get = (key: string, isMinor: boolean): Promise<string> =>
    cache.get(key, async () => {
      loaded.push(key);
      return { value: key, keepMs: 100, isMinor };
    });
  await get("worth", false);
  for (const key of ["a", "b", "c"]) await get(key, true);
  await get("worth", false);
  assert.deepEqual(loaded, ["worth", "a", "b", "c"]);
});
