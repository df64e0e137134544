import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { createLogger } from "../telemetry/logger.ts";
import type { Serving } from "./authority.ts";
import { openCertificates } from "./certificates.ts";
import type { CertificateKeeper } from "./certificates.ts";
import { OVERLAP_MS, RENEWED_BEFORE_MS } from "./rotation.ts";

const DAY_MS = 86_400_000;
const NAMES = ["localhost", "127.0.0.1"];

interface Scene {
  readonly store: Store;
  /** What the ConfigMap holds; undefined before anybody published. */
  published(): string | undefined;
  setRefusing(refusing: boolean): void;
  /** Moves the clock to this epoch millisecond. */
  moveTo(at: number): void;
  open(): Promise<{ readonly keeper: CertificateKeeper; readonly served: Serving[] }>;
}

function setScene(context: TestContext, startAt: number): Scene {
  const folder = mkdtempSync(join(tmpdir(), "paddock-tls-"));
  let at = startAt;
  const now = (): Date => new Date(at);
  const store = openSqliteStore(folder, now);
  context.after(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  let published: string | undefined;
  let refusing = false;
  const send = async (_method: string, _path: string, _type: string, body: unknown) => {
    if (refusing) return { status: 403, body: {} };
    published = (body as { data: Record<string, string> }).data["ca.crt"];
    return { status: 200, body: {} };
  };
  return {
    store,
    published: () => published,
    setRefusing: (wanted) => {
      refusing = wanted;
    },
    moveTo: (wanted) => {
      at = wanted;
    },
    open: async () => {
      const served: Serving[] = [];
      const keeper = await openCertificates({ store, api: { send }, namespace: "paddock-system", names: NAMES, logger: createLogger("silent"), now }, (serving) => served.push(serving));
      return { keeper, served };
    },
  };
}

function certificatesOf(bundle: string | undefined): X509Certificate[] {
  return (bundle?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((pem) => new X509Certificate(pem));
}

function isSignedBy(serving: Serving, authority: X509Certificate | undefined): boolean {
  return authority !== undefined && new X509Certificate(serving.certificate).verify(authority.publicKey);
}

/** Says what becomes of a TLS connection to a server with this certificate, trusting `ca`. */
async function dial({ certificate, key }: Serving, ca: string): Promise<string> {
  const server = createServer({ cert: certificate, key }, (_request, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await new Promise((resolve) => {
      const sent = request({ host: "127.0.0.1", port, ca, servername: "localhost", agent: false }, (response) => {
        response.resume();
        response.on("end", () => resolve("trusted"));
      });
      sent.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      sent.end();
    });
  } finally {
    server.close();
  }
}

test("an authority is succeeded in three steps: published beside the old one, then signing, then alone", async (t) => {
  const begin = Date.parse("2026-01-01T00:00:00Z");
  const scene = setScene(t, begin);
  const { keeper, served } = await scene.open();
  assert.equal(await keeper.look(), undefined);
  const [first, ...none] = certificatesOf(scene.published());
  assert.ok(first !== undefined && none.length === 0);
  const expiresAt = first.validToDate.getTime();

  const dueAt = expiresAt - RENEWED_BEFORE_MS;
  scene.moveTo(dueAt - 1);
  await keeper.look();
  assert.equal(certificatesOf(scene.published()).length, 1);
  scene.moveTo(dueAt);
  await keeper.look();
  const both = certificatesOf(scene.published());
  assert.deepEqual([both.length, both[0]?.fingerprint256], [2, first.fingerprint256]);
  assert.ok(isSignedBy(keeper.current().serving, first), "the old one still signs");
  assert.equal(keeper.current().bundle, scene.published());

  scene.moveTo(dueAt + OVERLAP_MS - 1);
  await keeper.look();
  assert.ok(isSignedBy(keeper.current().serving, first));
  scene.moveTo(dueAt + OVERLAP_MS);
  await keeper.look();
  assert.ok(isSignedBy(keeper.current().serving, both[1]), "the new one signs after the overlap");
  assert.equal(served.at(-1), keeper.current().serving, "the listener is told");
  assert.equal(certificatesOf(scene.published()).length, 2);

  scene.moveTo(expiresAt);
  await keeper.look();
  assert.deepEqual(certificatesOf(scene.published()).map(({ fingerprint256 }) => fingerprint256), [both[1]?.fingerprint256]);
});

test("a successor that could not be published does not sign, however long that takes", async (t) => {
  const scene = setScene(t, Date.now());
  const { keeper } = await scene.open();
  await keeper.look();
  const [first] = certificatesOf(scene.published());
  assert.ok(first !== undefined);
  scene.setRefusing(true);
  scene.moveTo(first.validToDate.getTime() - DAY_MS);
  assert.match((await keeper.look()) ?? "", /ConfigMap paddock-system\/paddock-gateway-ca cannot be patched: .*status 403/);
  assert.ok(isSignedBy(keeper.current().serving, first));
  scene.setRefusing(false);
  await keeper.look();
  assert.equal(certificatesOf(scene.published()).length, 2);
  assert.ok(isSignedBy(keeper.current().serving, first), "the overlap counts from the publication");
});

test("gateways with one store have the same authorities, also one that comes later", async (t) => {
  const scene = setScene(t, Date.now());
  const [one, other] = await Promise.all([scene.open(), scene.open()]);
  await Promise.all([one.keeper.look(), other.keeper.look()]);
  const [first] = certificatesOf(scene.published());
  assert.ok(first !== undefined);
  const dueAt = first.validToDate.getTime() - RENEWED_BEFORE_MS;
  scene.moveTo(dueAt);
  await Promise.all([one.keeper.look(), other.keeper.look()]);
  assert.equal(one.keeper.current().bundle, other.keeper.current().bundle);
  scene.moveTo(dueAt + OVERLAP_MS);
  const late = await scene.open();
  for (const { keeper } of [one, other, late]) await keeper.look();
  const [, second] = certificatesOf(scene.published());
  for (const { keeper } of [one, other, late]) {
    assert.equal(keeper.current().bundle, scene.published());
    assert.ok(isSignedBy(keeper.current().serving, second));
  }
});

test("a serving certificate is renewed at two thirds of its life, with the same authority", async (t) => {
  const begin = Date.now();
  const scene = setScene(t, begin);
  const { keeper, served } = await scene.open();
  const { renewAt, certificate } = keeper.current().serving;
  assert.equal(renewAt, begin + 60 * DAY_MS);
  scene.moveTo(renewAt - 1);
  await keeper.look();
  assert.equal(keeper.current().serving.certificate, certificate);
  scene.moveTo(renewAt);
  await keeper.look();
  assert.notEqual(keeper.current().serving.certificate, certificate);
  assert.equal(served.length, 1);
  assert.ok(isSignedBy(keeper.current().serving, certificatesOf(scene.published())[0]));
});

test("who trusts the bundle trusts what either of its authorities signed, and nothing else", async (t) => {
  // The certificates must be valid by this machine's clock: the second authority was due one overlap ago.
  const now = Date.now();
  const old = setScene(t, now - OVERLAP_MS - 3650 * DAY_MS + RENEWED_BEFORE_MS);
  const { keeper } = await old.open();
  await keeper.look();
  const onlyFirst = old.published() ?? "";
  old.moveTo(now - OVERLAP_MS);
  await keeper.look();
  const signedByFirst = keeper.current().serving;
  old.moveTo(now);
  await keeper.look();
  const signedBySecond = keeper.current().serving;
  const bundle = old.published() ?? "";
  assert.equal(certificatesOf(bundle).length, 2);
  assert.deepEqual([await dial(signedByFirst, bundle), await dial(signedBySecond, bundle), await dial(signedByFirst, onlyFirst)], ["trusted", "trusted", "trusted"]);
  assert.notEqual(await dial(signedBySecond, onlyFirst), "trusted");
});
