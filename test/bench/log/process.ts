import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Target } from "../../fakes/client.ts";
import { type Reviews, startReviews } from "../../fakes/reviews.ts";

const MAIN = join(import.meta.dirname, "../../../gateway/src/main.ts");

/** The gateway in a process of its own over one folder, as its container runs it. */
export interface GatewayProcess {
  readonly reviews: Reviews;
  readonly folder: string;
  target(): Target;
  /** Resident memory in MB. */
  memoryMB(): number;
  /** CPU used by the process so far, in seconds. */
  cpuSeconds(): number;
  /** Kills it with SIGKILL and starts it again on the same port; resolves when it serves. */
  killAndStart(): Promise<void>;
  close(): Promise<void>;
}

export async function startGatewayProcess(): Promise<GatewayProcess> {
  const reviews = await startReviews();
  const folder = await mkdtemp(join(tmpdir(), "paddock-bench-log-"));
  let served = await launch(reviews, folder, 0);
  const ca = await publishedCa(reviews);
  return {
    reviews,
    folder,
    target: () => ({ url: `https://127.0.0.1:${served.port}`, ca }),
    memoryMB: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${served.child.pid ?? 0}/status`, "utf8"))?.[1]) / 1024,
    cpuSeconds: () => {
      // Fields 14 and 15 count from the end of the name, in hundredths of a second.
      const fields = readFileSync(`/proc/${served.child.pid ?? 0}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
      return (Number(fields[11]) + Number(fields[12])) / 100;
    },
    killAndStart: async () => {
      const exited = once(served.child, "exit");
      served.child.kill("SIGKILL");
      await exited;
      served = await launch(reviews, folder, served.port);
    },
    close: async () => {
      served.child.kill("SIGKILL");
      await reviews.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function launch(reviews: Reviews, folder: string, port: number): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const { hostname, port: apiPort } = new URL(reviews.options.url);
  const env = {
    PADDOCK_NAMESPACE: "paddock-system",
    PADDOCK_OPERATOR_USER: reviews.operatorUser,
    PADDOCK_DATA_DIR: folder,
    PADDOCK_PORT: `${port}`,
    PADDOCK_METRICS_PORT: "0",
    PADDOCK_API_TOKEN_FILE: reviews.options.tokenFile,
    PADDOCK_API_CA_FILE: reviews.options.caFile,
    PADDOCK_LOG_LEVEL: "info",
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: apiPort,
  };
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
  const served = Promise.withResolvers<number>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { msg, port: taken = 0 } = JSON.parse(line) as { msg: string; port?: number };
    if (msg === "serving") served.resolve(taken);
  });
  child.once("exit", (code, signal) => served.reject(new Error(`the gateway ended with ${String(code ?? signal)}`)));
  return { child, port: await served.promise };
}

async function publishedCa(reviews: Reviews): Promise<string> {
  for (;;) {
    const ca = reviews.configMap("paddock-system", "paddock-gateway-ca")["ca.crt"];
    if (ca !== undefined) return ca;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
