// The runner's proxy over a real link to the sandbox. Names stand for loopback here, which the real one never dials; all else is as it is.
import { createDial } from "../../../runner-image/src/egress/dial.ts";
import { makeEgressAuthority } from "../../../runner-image/src/egress/authority.ts";
import { createGate } from "../../../runner-image/src/egress/gate.ts";
import { serveEgress } from "../../../runner-image/src/egress/proxy.ts";
import type { EgressPorts } from "../../../runner-image/src/egress/proxy.ts";
import { readPolicy } from "../../../runner-image/src/egress/rules.ts";
import { createCredentialValues } from "../../../runner-image/src/egress/secret.ts";
import { createInspector } from "../../../runner-image/src/egress/terminate.ts";
import { createUpstreamTrust } from "../../../runner-image/src/egress/upstream-tls.ts";
import { createRedactor } from "../../../runner-image/src/redaction.ts";
import { openLink } from "../../../runner-image/src/sandbox/link.ts";
// For its memory: what else a runner has loaded when a session begins.
import "../../../runner-image/src/shell.ts";
import { HOSTS } from "./hosts.ts";
import { readSettings, serveOrders, tell } from "./station.ts";

interface Settings {
  readonly toolPort: number;
  readonly upstreamPort: number;
  readonly caFile: string;
  readonly credentialFile: string;
}

const { toolPort, upstreamPort, caFile, credentialFile } = readSettings() as Settings;
const ports = [upstreamPort];
const credentials = [{ name: "api", secretKeyRef: { name: "api", key: "token" }, hosts: [HOSTS.masked] }];
const allowedHosts = [{ host: HOSTS.tunnel, ports }, { host: HOSTS.terminated, ports, paths: ["/"] }, { host: HOSTS.masked, ports }];
const policy = readPolicy({ name: "bench", spec: { network: { allowedHosts }, credentials } }, []);
const dial = createDial({ policy, resolve: () => Promise.resolve(["127.0.0.1"]), isAddressAllowed: () => true });
const authority = await makeEgressAuthority({ uid: "bench", hosts: [HOSTS.terminated, HOSTS.masked], now: new Date() });
const account = { note: () => () => undefined };
const values = createCredentialValues({ credentialFile: () => credentialFile, redactor: createRedactor(), onMissing: () => undefined });
const inspector = createInspector({ policy, credentials, values, account, dial, trust: createUpstreamTrust(caFile), authority: () => Promise.resolve(authority) });
const gate = createGate();
gate.set(true);
const logger = { debug: () => undefined, error: console.error } as unknown as EgressPorts["logger"];

const link = await openLink(
  { host: "127.0.0.1", port: toolPort, bindKey: "bench-bind-key-0123456789-0123456789", epoch: 1, session: "bench/one", files: [], keepExisting: false },
  {
    random: Math.random,
    probe: () => Promise.resolve([]),
    trust: () => Promise.resolve(authority.certificate),
    serve: (session) => serveEgress(session, { policy, dial, inspector, account, gate, logger }),
  },
  new AbortController().signal,
);
void link.closed.then((reason) => { console.error(`the link has ended: ${reason}`); });
tell({ certificate: authority.certificate });
await serveOrders(() => Promise.resolve({}));
