import { randomBytes } from "node:crypto";
import { OPERATOR_NAME } from "@paddock/api/names";
import { type Connection, connectKubeconfig } from "../../operator/src/cluster/connect.ts";
import { createApiClient } from "../../operator/src/cluster/http.ts";
import { type ApiTarget, writerCases } from "../conformance/apiserver-cases.ts";
import { watchCases } from "../conformance/watch-cases.ts";
import { KUBECONFIG } from "./kubectl.ts";
import { tokenOf } from "./people.ts";

const RELEASE_NAMESPACE = "paddock-system";

// The cases of the fake API server against the real one.

let token: Promise<string> | undefined;
/** Of the release's operator; one for the whole file. */
function operatorToken(): Promise<string> {
  token ??= tokenOf(RELEASE_NAMESPACE, OPERATOR_NAME);
  return token;
}

/** A client certificate would count before the token. */
function withoutCertificate({ tls }: Connection): Connection["tls"] {
  return async () => {
    const { cert: _, key: __, ...rest } = await tls();
    return rest;
  };
}

const open = async (): Promise<ApiTarget> => {
  const connection = await connectKubeconfig(KUBECONFIG);
  const client = createApiClient(connection);
  const namespace = `paddock-conformance-${randomBytes(4).toString("hex")}`;
  await client.request({ verb: "create", resource: "namespaces", method: "POST", path: "/api/v1/namespaces", body: { metadata: { name: namespace } } });
  const operatorConnection: Connection = { url: connection.url, tls: withoutCertificate(connection), authorization: async () => `Bearer ${await operatorToken()}` };
  const operator = createApiClient(operatorConnection);
  return {
    client, connection, namespace,
    operator: { client: operator, connection: operatorConnection },
    close: async () => {
      operator.close();
      await client.request({ verb: "delete", resource: "namespaces", method: "DELETE", path: `/api/v1/namespaces/${namespace}` });
      client.close();
    },
  };
};

writerCases("real", open);
watchCases("real", open);
