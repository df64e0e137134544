import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { agentSpecSchema } from "./agent.ts";
import { environmentSpecSchema } from "./environment.ts";
import { scheduleSpecSchema } from "./schedule.ts";
import { sessionSpecSchema } from "./session.ts";

// What each pattern takes and refuses. The CRD's rules are made from the same patterns, so this holds for the API server too.

const model = (change: object) => ({ models: [{ name: "default", model: "m", baseURL: "https://api.example.com/v1", ...change }] });
const environment = (spec: object) => environmentSpecSchema.safeParse({ ...model({}), ...spec }).success;
const agent = (change: object) => agentSpecSchema.safeParse({ instructions: "x", model: { name: "default", ...change } }).success;
const session = (spec: object) => sessionSpecSchema.safeParse({ agentRef: { name: "a" }, environmentRef: { name: "e" }, prompt: "go", ...spec }).success;

interface Field {
  readonly field: string;
  takes(value: unknown): boolean;
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
}

const fields: readonly Field[] = [
  {
    field: "models[].name",
    takes: (name) => environment(model({ name })),
    good: ["a", "gpt-5", "0", "x".repeat(63)],
    bad: ["", "-a", "a-", "A", "a.b", "a_b", "a\n", "x".repeat(64), 1],
  },
  {
    field: "models[].baseURL",
    takes: (baseURL) => environment(model({ baseURL })),
    good: ["https://api.openai.com/v1", "http://scripted-model:8080", "http://scripted-model.demo.svc.cluster.local:8080/v1/", "https://[2001:db8::1]:8443/v1", "http://10.0.0.1/v1", "https://example.com/a@b", "https://a:1", "https://a:65535/"],
    bad: ["api.openai.com/v1", "ftp://example.com", "https://", "https://user:pw@example.com/v1", "https://example.com/v1?key=1", "https://example.com/#x", "https://exa mple.com", "https://example.com:port/", "https://-x.com", "HTTPS://example.com", "https://a:0", "https://a:65536", "https://a:99999", "https://a:080"],
  },
  {
    field: "models[].pricing.inputPerMillion",
    takes: (inputPerMillion) => environment(model({ pricing: { inputPerMillion, outputPerMillion: "1" } })),
    good: ["0", "1.25", "999999.999999999", "0.000000001"],
    bad: ["", "-1", "1e3", "01", ".5", "1.", "1,25", "$1", "1.0000000001", "1000000", 1.25],
  },
  {
    field: "models[].apiKey.secretKeyRef.key",
    takes: (key) => environment(model({ apiKey: { secretKeyRef: { name: "s", key } } })),
    good: ["api-key", "API_KEY", "tls.crt"],
    bad: ["", "a/b", "a b", "x".repeat(254)],
  },
  {
    field: "sandbox.image",
    takes: (image) => environment({ sandbox: { image } }),
    good: ["ubuntu", "ghcr.io/paddock/sandbox:0.1.0", "localhost:5000/a/b", `registry.example/a@sha256:${"0".repeat(64)}`, `r/a:1@sha256:${"0".repeat(64)}`, "a/b-c_d/e__f"],
    bad: ["", "https://ghcr.io/x", "ghcr.io/x y", "ghcr.io/X:1:2", "a@sha256:12", "a:", "/a", "a//b:"],
  },
  {
    field: "sandbox.resources.limits.cpu",
    takes: (cpu) => environment({ sandbox: { resources: { limits: { cpu } } } }),
    good: ["500m", "1", 1, "0.5"],
    bad: [0.5, true, "x".repeat(33), null],
  },
  {
    field: "network.inCluster[].podSelector.matchLabels",
    takes: (matchLabels) => environment({ network: { inCluster: [{ podSelector: { matchLabels }, ports: [80] }] } }),
    good: [{}, { app: "x" }, { "app.kubernetes.io/name": "" }, { ["k".repeat(63)]: "v".repeat(63) }],
    bad: [{ "my app": "x" }, { app: "x y" }, { "/a": "x" }, { app: "-x" }, { "a..b/c": "x" }, { "A.b/c": "x" }, { "a/b/c": "x" }, { ["k".repeat(64)]: "x" }, { app: "v".repeat(64) }],
  },
  {
    field: "network.inCluster[].ports",
    takes: (ports) => environment({ network: { inCluster: [{ ports }] } }),
    good: [[1], [65535], [80, 443]],
    bad: [[], [0], [65536], ["http"], Array(17).fill(80)],
  },
  { field: "models[].model", takes: (id) => environment(model({ model: id })), good: ["gpt-5.2", "meta-llama/Llama 3:free"], bad: ["", "a\u0000", "x".repeat(257)] },
  {
    field: "scheduling.tolerations[].key",
    takes: (key) => environment({ scheduling: { tolerations: [{ key }] } }),
    good: ["gpu", "node.kubernetes.io/unreachable"],
    bad: ["", "my taint", "a/b/c", "-a"],
  },
  { field: "scheduling.tolerations[].value", takes: (value) => environment({ scheduling: { tolerations: [{ key: "gpu", value }] } }), good: ["", "yes"], bad: ["a b", "-a", "x".repeat(64)] },
  {
    field: "telemetry.traceURLTemplate",
    takes: (traceURLTemplate) => environment({ telemetry: { traceURLTemplate } }),
    good: ["https://jaeger/trace/{traceId}", "http://localhost:16686/trace/{traceId}?uiFind=x"],
    bad: ["", "https://jaeger/trace", "ftp://x/{traceId}", "javascript:{traceId}", "https://x/{traceId}/{spanId}", "https://x y/{traceId}"],
  },
  { field: "model.temperature", takes: (temperature) => agent({ temperature }), good: ["0", "0.2", "1", "1.9999", "2", "2.0"], bad: ["", "2.1", "-1", "3", "0.20000", ".5", "1e0", 0.2] },
  { field: "agentRef.name", takes: (name) => session({ agentRef: { name } }), good: ["a", "a.b-c", "x".repeat(253)], bad: ["", "A", "a..b", ".a", "a-", "a b", "x".repeat(254)] },
  { field: "prompt", takes: (prompt) => session({ prompt }), good: ["x", "é😀\n\t", "x".repeat(98304)], bad: ["", "x".repeat(98305), "a\u0000b", 1] },
  { field: "limits.timeoutSeconds", takes: (timeoutSeconds) => session({ limits: { timeoutSeconds } }), good: [1, 604800], bad: [0, -1, 1.5, "15m", 604801] },
];

describe("values of fields", () => {
  for (const { field, takes, good, bad } of fields) {
    it(`${field}: takes what is right`, () => {
      assert.deepEqual(good.filter((value) => !takes(value)), []);
    });
    it(`${field}: refuses what is wrong`, () => {
      assert.deepEqual(bad.filter((value) => takes(value)), []);
    });
  }
});

describe("the cron rules", () => {
  const schema = scheduleSpecSchema.shape.schedule.meta() as { "x-kubernetes-validations": readonly { rule: string; message: string }[] };
  const rules = schema["x-kubernetes-validations"];

  /** Messages of the rules that refuse the text; CEL's `matches` and `contains` over literals are all they use. */
  function refusals(text: string): readonly string[] {
    const evaluate = (term: string): boolean => {
      const [, negation, method, literal = ""] = /^(!?)self\.(matches|contains)\('(.*)'\)$/.exec(term) ?? [];
      assert.ok(method, term);
      const argument = literal.replaceAll("\\\\", "\\");
      const holds = method === "contains" ? text.includes(argument) : new RegExp(argument).test(text);
      return negation === "!" ? !holds : holds;
    };
    return rules.filter(({ rule }) => !rule.split(" || ").some(evaluate)).map(({ message }) => message);
  }

  for (const good of ["* * * * *", "30 6 * * 1-5", "*/15 0-23/2 1,15 JAN-mar MON-FRI", "0 0 29 2 *", "59 23 31 12 7", "05 09 01 01 0", "0  12\t* * *"]) {
    it(`take ${JSON.stringify(good)}`, () => {
      assert.deepEqual(refusals(good), []);
    });
  }

  const bad: readonly (readonly [string, RegExp])[] = [
    ["61 6 * * *", /minute is outside 0–59/],
    ["0 24 * * *", /hour is outside 0–23/],
    ["0 0 32 * *", /day of month is outside 1–31/],
    ["0 0 1 0 *", /month is outside 1–12/],
    ["0 0 * * MUN", /day of week is outside 0–7/],
    ["*/0 * * * *", /minute/],
    ["1,,2 * * * *", /minute/],
    ["-5 * * * *", /minute/],
    ["30-20 * * * *", /minute has a range upside down: write the smaller value first/],
    ["* * * DEC-2 *", /month has a range upside down/],
    ["* * * * 1,FRI-MON/2", /day of week has a range upside down/],
    ["@daily", /write the five fields/],
    ["0 30 6 * * *", /write the five fields/],
    ["TZ=UTC 30 6 * * *", /use spec\.timeZone/],
    ["CRON_TZ=UTC 30 6 * * *", /use spec\.timeZone/],
  ];
  for (const [text, says] of bad) {
    it(`refuse ${JSON.stringify(text)}, for one reason`, () => {
      assert.equal(refusals(text).length, 1);
      assert.match(refusals(text)[0] ?? "", says);
    });
  }
});
