import type { SANDBOX_PROXY_PORT } from "@paddock/api/wire/sandbox";
import type { Config } from "./config.ts";

export const PROXY_PORT: typeof SANDBOX_PROXY_PORT = 3128;

/** The whole environment of commands: small and the same everywhere, and nothing of the tool server's own. Pure. */
export function buildEnvironment({ home, path }: Pick<Config, "home" | "path">, proxyPort: number): Readonly<Record<string, string>> {
  const proxy = `http://127.0.0.1:${proxyPort}`;
  const local = "localhost,127.0.0.1,::1";
  return {
    HOME: home,
    PATH: path,
    USER: "agent",
    LANG: "C.UTF-8",
    // Nobody answers a prompt or turns a page.
    TERM: "dumb",
    PAGER: "cat",
    GIT_TERMINAL_PROMPT: "0",
    // Programs disagree on the case.
    HTTP_PROXY: proxy,
    HTTPS_PROXY: proxy,
    ALL_PROXY: proxy,
    NO_PROXY: local,
    http_proxy: proxy,
    https_proxy: proxy,
    all_proxy: proxy,
    no_proxy: local,
    NODE_USE_ENV_PROXY: "1",
  };
}
