import { GATEWAY_AUDIENCE, LABELS, POD_SERVICE_ACCOUNT } from "../names.ts";
import { celString } from "../text.ts";
import { SECRET, askFor, mayCaller } from "./cel.ts";
import type { ValidatingDefinition } from "./policy.ts";

// Runner pods hold the credentials of their Environment as files: who gets into one reads them. So that takes the right that reading
// Secrets takes. Commands in a sandbox pod do not: it holds nothing, and who looks into one sees what its model sees and can do what that can.

const check = (how: string) => ({
  expression: mayCaller(SECRET.verb, SECRET),
  message: `${how} a runner pod, which holds credentials, takes get on secrets in its namespace`,
  tell: `'${how} the runner pod ' + request.name + ', which holds credentials: ' + ${askFor("get", "secrets")}`,
});

/**
 * The request to a pod's `exec` or `attach` carries no label of the pod, only its name. Names of runner pods end in -r and a number,
 * which the policy operator-pods holds the operator to; a foreign pod with such a name is covered with them.
 */
export function runnerExec(): ValidatingDefinition {
  return {
    name: "runner-exec",
    rules: [{ group: "", version: "v1", operations: ["CONNECT"], resources: ["pods/exec", "pods/attach"] }],
    conditions: [{ name: "runner-by-name", expression: `request.name.matches(${celString(RUNNER_NAME)})` }],
    checks: [check("commands in")],
  };
}

/**
 * A sandbox's ports are its tool server, which serves the first who binds it and nobody else after that, and its proxy, behind which requests get
 * the session's credentials. A runner listens to nothing, and what it might listen to one day is covered. The name in a request to `proxy` may
 * have a scheme before it and a port behind.
 */
export function podPorts(): ValidatingDefinition {
  return {
    name: "pod-ports",
    rules: [{ group: "", version: "v1", operations: ["CONNECT"], resources: ["pods/portforward", "pods/proxy"] }],
    conditions: [{ name: "paddocks-by-name", expression: `request.name.matches(${celString("-[rs][0-9]+(:[^:]*)?$")})` }],
    checks: [
      {
        expression: mayCaller(SECRET.verb, SECRET),
        message: "ports of a runner or sandbox pod take get on secrets in its namespace, for requests behind them get the credentials of the session",
        tell: `'ports of the pod ' + request.name + ', behind which requests get the credentials of its session: ' + ${askFor("get", "secrets")}`,
      },
    ],
  };
}

/** What names of runner and sandbox pods end in; see runnerPodName and sandboxPodName. */
export const RUNNER_NAME = "-r[0-9]+$";
export const SANDBOX_NAME = "-s[0-9]+$";

/** A container put beside the runner sees its files; another image in its place does so too, for the kubelet restarts a container whose image changes. */
export function runnerChange(): ValidatingDefinition {
  const component = celString(LABELS.component);
  return {
    name: "runner-change",
    rules: [{ group: "", version: "v1", operations: ["UPDATE"], resources: ["pods", "pods/ephemeralcontainers"] }],
    conditions: [
      { name: "runner-by-label", expression: `has(oldObject.metadata.labels) && ${component} in oldObject.metadata.labels && oldObject.metadata.labels[${component}] == 'runner'` },
      { name: "spec-changes", expression: "object.spec != oldObject.spec" },
    ],
    checks: [check("changing")],
  };
}

/**
 * A token of the account that is bound to a runner's pod is that runner to the gateway: it reads the session's log and writes to it. Kubelets
 * ask for the tokens of the pods on their nodes; the role `edit` of Kubernetes would let people ask, too.
 */
export function runnerTokens(): ValidatingDefinition {
  return {
    name: "runner-tokens",
    rules: [{ group: "", version: "v1", operations: ["CREATE"], resources: ["serviceaccounts/token"] }],
    conditions: [{ name: "account-of-pods", expression: `request.name == ${celString(POD_SERVICE_ACCOUNT)}` }],
    checks: [
      {
        expression: "has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups",
        message: `tokens of the service account ${POD_SERVICE_ACCOUNT} are runners' own proof to ${GATEWAY_AUDIENCE} and are given to nodes only: use a service account of your own`,
      },
    ],
  };
}
