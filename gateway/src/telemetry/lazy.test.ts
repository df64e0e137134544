import assert from "node:assert/strict";
import { registerHooks } from "node:module";
import { test } from "node:test";

// In a file of its own: a process loads a package once.

test("OpenTelemetry's packages are loaded when there is an endpoint, and not before", async () => {
  const loaded = new Set<string>();
  registerHooks({
    resolve: (specifier, context, next) => {
      loaded.add(specifier);
      return next(specifier, context);
    },
  });
  const theirs = () => [...loaded].filter((specifier) => specifier.startsWith("@opentelemetry/"));
  const { createTracing } = await import("./tracing.ts");
  const options = { events: () => Promise.resolve([]), metrics: { spans: () => undefined }, logger: { warn: () => undefined, info: () => undefined } };
  await (await createTracing({ ...options, endpoint: undefined })).close();
  assert.deepEqual(theirs(), []);
  await (await createTracing({ ...options, endpoint: "http://collector.invalid:4318" })).close();
  assert.ok(theirs().includes("@opentelemetry/sdk-trace"));
});
