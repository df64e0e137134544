import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import type { RequestOptions } from "node:https";

const REQUEST_TIMEOUT_MS = 10_000;
/** The kubelet renews a service account's token long before it expires; reading the file this often follows it. */
const TOKEN_AGE_MS = 30_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

export interface ApiServerOptions {
  /** e.g. https://10.96.0.1:443 */
  readonly url: string;
  /** Files of the service account; read again as they change. */
  readonly tokenFile: string;
  readonly caFile: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** JSON requests to the Kubernetes API server as our own service account, over kept connections. */
export interface ApiServer {
  /** Rejects when there is no answer; any status is an answer. */
  send(method: "POST" | "PATCH", path: string, contentType: string, body: unknown): Promise<ApiAnswer>;
  close(): void;
}

export function connectApiServer({ url, tokenFile, caFile }: ApiServerOptions): ApiServer {
  const agent = new Agent({ keepAlive: true, maxSockets: 8, timeout: 60_000 });
  let token: { readonly value: string; readonly readAt: number } | undefined;
  const readToken = async (): Promise<string> => {
    if (token === undefined || performance.now() - token.readAt > TOKEN_AGE_MS) {
      token = { value: (await readFile(tokenFile, "utf8")).trim(), readAt: performance.now() };
    }
    return token.value;
  };
  return {
    send: async (method, path, contentType, body) => {
      const ca = await readFile(caFile, "utf8");
      const ask = async (): Promise<ApiAnswer> => {
        const headers = { authorization: `Bearer ${await readToken()}`, "content-type": contentType, accept: "application/json" };
        return exchange(new URL(path, url), { method, agent, ca, headers, timeout: REQUEST_TIMEOUT_MS }, JSON.stringify(body));
      };
      const answer = await ask();
      if (answer.status !== 401) return answer;
      // The token may have been renewed since it was read.
      token = undefined;
      return ask();
    },
    close: () => agent.destroy(),
  };
}

async function exchange(url: URL, options: RequestOptions, body: string): Promise<ApiAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ApiAnswer>();
  const outgoing = request(url, options, (response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) outgoing.destroy(new Error(`the API server's answer to ${url.pathname} exceeds ${MAX_ANSWER_BYTES} bytes`));
    });
    response.on("error", reject);
    response.on("end", () => resolve({ status: response.statusCode ?? 0, body: parseAnswer(Buffer.concat(chunks).toString("utf8")) }));
  });
  outgoing.on("timeout", () => outgoing.destroy(new Error(`the API server did not answer ${url.pathname} within ${REQUEST_TIMEOUT_MS} ms`)));
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise;
}

function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
