import assert from "node:assert/strict";
import { test } from "node:test";
import * as conventions from "@opentelemetry/semantic-conventions/incubating";
import { NAME, OPERATION, providerOf } from "./genai.ts";

const known = new Set(Object.entries(conventions).flatMap(([constant, value]) => (constant.startsWith("ATTR_") || /_VALUE_/.test(constant) ? [value as unknown] : [])));

test("every name that is not our own is one of the installed conventions", () => {
  const foreign = [...Object.values(NAME), ...Object.values(OPERATION)].filter((name) => !name.startsWith("paddock."));
  assert.ok(foreign.length > 25);
  assert.deepEqual(foreign.filter((name) => !known.has(name)), []);
});

test("a provider is known by its host, and has a name of the conventions", () => {
  const of = { "api.openai.com": "openai", "eu.openai.azure.com": "azure.ai.openai", "api.anthropic.com": "anthropic", "us-east1.aiplatform.googleapis.com": "gcp.vertex_ai", "api.mistral.ai": "mistral_ai", "evil-api.mistral.ai.example": "openai", "notapi.x.ai": "openai", "vllm.team.svc": "openai" };
  for (const [host, provider] of Object.entries(of)) {
    assert.equal(providerOf(host), provider, host);
    assert.ok(known.has(provider), provider);
  }
});
