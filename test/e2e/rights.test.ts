import assert from "node:assert/strict";
import { before, test } from "node:test";
import { OPERATOR_TENANT } from "@paddock/api/rights/table";
import { openOperator } from "./identities.ts";
import { kubectl } from "./kubectl.ts";
import { openNamespace } from "./namespace.ts";

// What the API server itself says that the operator may do: rights may come from elsewhere than the chart's roles.

interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
}

let rules: readonly Rule[];

/** What `kubectl auth can-i --list` asks. */
async function rulesOf(namespace: string): Promise<readonly Rule[]> {
  const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectRulesReview", spec: { namespace } };
  const answer = JSON.parse(await (await openOperator()).must(["create", "--validate=false", "-o", "json", "-f", "-"], review)) as { status: { incomplete: boolean; resourceRules: Rule[] } };
  assert.equal(answer.status.incomplete, false, "the authorizer can list rights");
  return answer.status.resourceRules.map(({ verbs, apiGroups, resources }) => ({ verbs, apiGroups, resources }));
}

before(async () => {
  rules = await rulesOf(await openNamespace("rights"));
});

test("the operator has, in a namespace, every right of the table", () => {
  for (const { group, resources, verbs } of OPERATOR_TENANT) {
    for (const resource of resources) {
      const given = rules.filter((rule) => rule.apiGroups.includes(group) && rule.resources.includes(resource)).flatMap((rule) => rule.verbs);
      assert.deepEqual(verbs.filter((verb) => !given.includes(verb)), [], resource);
    }
  }
});

test("kubectl auth can-i --list as the operator: no Secrets, wildcard, exec, impersonate, escalate, bind", async () => {
  assert.ok(rules.length > 5, `${rules.length} rules`);
  for (const { verbs, apiGroups, resources } of rules) {
    const words = JSON.stringify({ verbs, apiGroups, resources });
    assert.ok(![...verbs, ...apiGroups, ...resources].includes("*"), words);
    assert.deepEqual(verbs.filter((verb) => ["impersonate", "escalate", "bind"].includes(verb)), [], words);
    assert.deepEqual(resources.filter((resource) => /^(secrets|nodes|pods\/(exec|attach|portforward|proxy|ephemeralcontainers)|serviceaccounts\/token|.*webhookconfigurations|(cluster)?role(binding)?s)$/.test(resource)), [], words);
  }
  const { stdout } = await kubectl(["auth", "can-i", "--list", "--as=system:serviceaccount:paddock-system:paddock-operator"]);
  assert.doesNotMatch(stdout, /\bsecrets\b|pods\/exec|\[\*\]\s*$|\*\.\*|\b(impersonate|escalate|bind)\b/m);
});
