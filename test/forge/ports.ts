/** Ports of the forge's pod. Its Service has 443, 8444 and 80 for the first three. */
export const FORGE_PORTS = { https: 8443, http2: 8444, http: 8000, control: 8080 } as const;
