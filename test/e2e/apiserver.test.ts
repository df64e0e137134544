import { randomBytes } from "node:crypto";
import { connectKubeconfig } from "../../operator/src/cluster/connect.ts";
import { createApiClient } from "../../operator/src/cluster/http.ts";
import { type ApiTarget, writerCases } from "../conformance/apiserver-cases.ts";
import { watchCases } from "../conformance/watch-cases.ts";
import { KUBECONFIG } from "./kubectl.ts";

// The cases of the fake API server against the real one.

const open = async (): Promise<ApiTarget> => {
  const connection = await connectKubeconfig(KUBECONFIG);
  const client = createApiClient(connection);
  const namespace = `paddock-conformance-${randomBytes(4).toString("hex")}`;
  await client.request({ verb: "create", resource: "namespaces", method: "POST", path: "/api/v1/namespaces", body: { metadata: { name: namespace } } });
  return {
    client, connection, namespace,
    close: async () => {
      await client.request({ verb: "delete", resource: "namespaces", method: "DELETE", path: `/api/v1/namespaces/${namespace}` });
      client.close();
    },
  };
};

writerCases("real", open);
watchCases("real", open);
