import type { SANDBOX_PROXY_PORT } from "@paddock/api/wire/sandbox";
import type { Config } from "./config.ts";
import { trustFiles } from "./trust.ts";

export const PROXY_PORT: typeof SANDBOX_PROXY_PORT = 3128;

/** The whole environment of commands: small and the same everywhere, and nothing of the tool server's own. Pure. */
export function buildEnvironment({ home, path, trust }: Pick<Config, "home" | "path" | "trust">, proxyPort: number): Readonly<Record<string, string>> {
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
    ...buildTrustEnvironment(trust),
  };
}

/**
 * Where programs find whom to trust. Those that read the system's store (wget, GnuTLS) find it by the image's link; Java and browsers have
 * stores in formats of their own that no variable of ours can point to.
 */
function buildTrustEnvironment(trust: string): Readonly<Record<string, string>> {
  const { bundle, extra } = trustFiles(trust);
  return {
    // OpenSSL, and so Python, Ruby, PHP, Perl, .NET; Go; Rust's rustls-native-certs; uv.
    SSL_CERT_FILE: bundle,
    CURL_CA_BUNDLE: bundle,
    GIT_SSL_CAINFO: bundle,
    // Python's requests and pip bring a list of their own.
    REQUESTS_CA_BUNDLE: bundle,
    PIP_CERT: bundle,
    CARGO_HTTP_CAINFO: bundle,
    AWS_CA_BUNDLE: bundle,
    CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE: bundle,
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: bundle,
    // These add to a list of their own: Node with npm, yarn and pnpm, Bun; Deno.
    NODE_EXTRA_CA_CERTS: extra,
    DENO_CERT: extra,
  };
}
