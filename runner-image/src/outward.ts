import { readFile } from "node:fs/promises";
import type { ServerHttp2Session } from "node:http2";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "pino";
import type { Bundle } from "@paddock/api/log/bundle";
import type { ProbeTarget } from "@paddock/api/wire/sandbox";
import type { Assignment } from "@paddock/api/wire/runner";
import type { Append } from "./append.ts";
import { createLedger } from "./egress/account.ts";
import type { Ledger } from "./egress/account.ts";
import type { EgressAuthority } from "./egress/authority.ts";
import { createDial } from "./egress/dial.ts";
import type { DialPorts } from "./egress/dial.ts";
import { createGate } from "./egress/gate.ts";
import type { MovableGate } from "./egress/gate.ts";
import { serveEgress } from "./egress/proxy.ts";
import type { EgressAccount } from "./egress/policy.ts";
import type { EgressPorts } from "./egress/proxy.ts";
import { createRefusals } from "./egress/refusals.ts";
import { readPolicy } from "./egress/rules.ts";
import { createCredentialValues } from "./egress/secret.ts";
import { createInspector } from "./egress/terminate.ts";
import { createUpstreamTrust } from "./egress/upstream-tls.ts";
import { messageOf } from "./fault.ts";
import type { Gateway } from "./gateway.ts";
import type { Redactor } from "./redaction.ts";
import { buildProbe, parseNameServers } from "./sandbox/bind.ts";
import type { Canary } from "./sandbox/bind.ts";

/** What this pod knows of the network around it. */
export interface NetworkSettings {
  /** CIDRs that no host stands for unless the Environment says so. */
  readonly privateRanges: readonly string[];
  readonly canaries: readonly Canary[];
  /** Authorities of the Environment's own, PEM; there is none without network.caBundle. */
  readonly caBundleFile: string;
  /** Names the cluster's name servers. */
  readonly resolvConfFile: string;
  /** For tests, which have loopback alone, and that is never dialled. */
  readonly dialing?: Pick<DialPorts, "resolve" | "isAddressAllowed">;
}

/** The way out of a session's sandboxes, one for all channels to them. */
export interface Outward {
  readonly gate: MovableGate;
  readonly ledger: Ledger;
  /** Hears refusals from now on; what it returns ends that and says them, or nothing when there were none. */
  listen(): () => string | undefined;
  /** What a new sandbox must not reach. */
  probe(): Promise<readonly ProbeTarget[]>;
  /** PEM of what programs in the sandbox are to trust besides their image's own. */
  trust(): Promise<string>;
  /** Serves what programs of a sandbox send to their proxy. */
  serve(session: ServerHttp2Session): void;
  /** Ends what is under way, and tells the log what was not told yet. */
  end(): Promise<void>;
}

export interface OutwardPorts {
  readonly assignment: Assignment;
  readonly network: NetworkSettings;
  readonly gateway: Gateway;
  readonly credentialFile: (name: string) => string;
  readonly redactor: Redactor;
  readonly append: Append;
  readonly logger: Logger;
  readonly now: () => number;
  /** Told when what may leave could have changed. */
  readonly onChange: () => void;
}

/** Throws RangeError when the Environment, or this pod's settings, hold a range of addresses that is none. */
export function createOutward(ports: OutwardPorts): Outward {
  const { assignment, network, gateway, append, logger, onChange } = ports;
  const { environment } = assignment.bundle;
  const gate = createGate();
  const ledger = createLedger({ append, logger, onChange });
  const refusals = createRefusals();
  const account: EgressAccount = { note: ledger.note, refused: refusals.add };
  const policy = readPolicy(environment, network.privateRanges);
  const dial = createDial({ policy, ...network.dialing });
  const authority = createAuthoritySource(assignment.bundle, ports.now);
  const values = createCredentialValues({ credentialFile: ports.credentialFile, redactor: ports.redactor, onMissing: (report) => void reportMissing(report, ports) });
  const trust = createUpstreamTrust(network.caBundleFile);
  const inspector = createInspector({ policy, credentials: environment.spec.credentials ?? [], values, account, dial, trust, authority });
  const served: EgressPorts = { policy, dial, inspector, account, gate, logger };
  return {
    gate,
    ledger,
    listen: refusals.listen,
    async probe() {
      const dnsServers = parseNameServers((await readText(network.resolvConfFile)) ?? "");
      return buildProbe({ gateway: gateway.peer(), dnsServers, canaries: network.canaries });
    },
    async trust() {
      // The library for certificates takes memory that sessions without such hosts have no use for.
      const own = terminatedHosts(environment.spec).length === 0 ? "" : (await authority()).certificate;
      return [own, (await readText(network.caBundleFile)) ?? ""].filter((pem) => pem.trim() !== "").join("\n");
    },
    serve: (session) => serveEgress(session, served),
    async end() {
      gate.set(false);
      // What ends because of that says how much it carried when it is closed.
      await nextTurn();
      await ledger.flush();
    },
  };
}

/** The text of a file; undefined when there is none. */
export async function readText(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}

/** What the Environment names and nobody has made is told to people, as for a model's key: what the program was refused for is theirs to mend. */
async function reportMissing({ subject, message }: { readonly subject: string; readonly message: string }, { append, logger }: OutwardPorts): Promise<void> {
  logger.warn({ subject }, message);
  const data = { problem: "CredentialMissing" as const, subject: subject.slice(0, 512), message: message.slice(0, 2048) };
  await append([{ type: "runner.reported", data }]).catch((error: unknown) => logger.warn({ subject, error: messageOf(error) }, "a missing credential could not be told to the log"));
}

/** The authority of this process for the session, made when it is asked for first; what failed is made again. */
function createAuthoritySource({ session, environment }: Bundle, now: () => number): () => Promise<EgressAuthority> {
  let made: Promise<EgressAuthority> | undefined;
  const make = async (): Promise<EgressAuthority> => {
    const { makeEgressAuthority } = await import("./egress/authority.ts");
    return makeEgressAuthority({ uid: session.uid, hosts: terminatedHosts(environment.spec), now: new Date(now()) });
  };
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

/** Patterns of hosts whose requests the proxy has to see. Pure. */
export function terminatedHosts({ network, credentials = [] }: Pick<Bundle["environment"]["spec"], "network" | "credentials">): readonly string[] {
  const seen = (network?.allowedHosts ?? []).filter(({ methods, paths }) => methods !== undefined || paths !== undefined).map(({ host }) => host);
  return [...new Set([...seen, ...credentials.flatMap(({ hosts }) => hosts)])];
}
