// The operator's process: what operator/src/main.ts does, with an API server that speaks HTTP/2 without TLS and has no admission policies.
import { readConfig } from "../../../operator/src/config.ts";
import { startOperator } from "../../../operator/src/operator.ts";
import { createLogger } from "../../../operator/src/telemetry/log.ts";
import { createMetrics } from "../../../operator/src/telemetry/metrics.ts";

export interface OperatorOptions {
  readonly apiUrl: string;
  /** Where runners find the gateway, and where the operator does. */
  readonly gatewayUrl: string;
  readonly gatewayDialUrl: string;
  readonly token: string;
  readonly namespace: string;
}

const { apiUrl, gatewayUrl, gatewayDialUrl, token, namespace } = JSON.parse(process.argv[2] ?? "") as OperatorOptions;
process.once("disconnect", () => process.exit(1));
const log = createLogger("info");
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    log.fatal({ err: error }, "crashed");
    process.exit(1);
  });
}
startOperator({
  // A container that is started again in the same pod leads at once.
  config: readConfig({ PADDOCK_NAMESPACE: namespace, PADDOCK_GATEWAY_URL: gatewayUrl, PADDOCK_GATEWAY_DIAL_URL: gatewayDialUrl, PADDOCK_RUNNER_IMAGE: "runner:1", PADDOCK_SANDBOX_IMAGE: "sandbox:1", PADDOCK_POD_NAME: "operator-0" }),
  connection: { url: apiUrl, tls: async () => ({}), authorization: async () => undefined },
  token: async () => token,
  metrics: createMetrics(),
  log,
  readPolicy: async (wanted) => wanted,
});
