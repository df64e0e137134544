import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { createTally, injectHeaders } from "./exchange.ts";
import type { EgressNote } from "./policy.ts";
import { echo, HOST, startHost } from "./testdata/host.ts";
import { askOver, listen, startInspected } from "./testdata/inspected.ts";

const SECRET = "tok-3f9a/x+7Q==secret";
const STARS = "*".repeat(SECRET.length);
const CREDENTIAL = { name: "api", secretKeyRef: { name: "tokens", key: "api" }, hosts: [HOST] };

test("an encoded answer of a host with a credential arrives plain and masked", async (t) => {
  const { lab, url } = await startHost(t, (asked, response) => {
    const text = `${"padding ".repeat(5_000)}${SECRET}`;
    const [encoding, body] = asked.url === "/br" ? ["br", brotliCompressSync(text)] : ["gzip", gzipSync(text)];
    response.writeHead(200, { "content-encoding": encoding, "content-length": body.length }).end(body);
  }, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  for (const path of ["/gzip", "/br"]) {
    const reply = await lab.ask(url + path);
    assert.equal(reply.headers["content-encoding"], undefined);
    assert.equal(reply.body, `${"padding ".repeat(5_000)}${STARS}`);
  }
});

test("an answer in an encoding that nobody can read is not sent on", async (t) => {
  const { lab, url } = await startHost(t, (_, response) => { response.writeHead(200, { "content-encoding": "aes128gcm" }).end(SECRET); }, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const reply = await lab.ask(url);
  assert.equal(reply.status, 502);
  assert.match(reply.body, /encoded in a way that the proxy cannot read/);
});

test("encodings of hosts without a credential stay as they are", async (t) => {
  const body = gzipSync("text");
  const { lab, url } = await startHost(t, (asked, response) => { response.writeHead(200, { "content-encoding": "gzip", "x-asked": asked.headers["accept-encoding"] ?? "", "alt-svc": "h3=\":443\"" }).end(body); });
  const reply = await lab.ask(url, { headers: { "accept-encoding": "gzip, br" } });
  assert.deepEqual([reply.headers["content-encoding"], reply.headers["x-asked"], reply.headers["alt-svc"]], ["gzip", "gzip, br", undefined]);
});

test("headers of an answer are masked, with their length", async (t) => {
  const { lab, url } = await startHost(t, (asked, response) => {
    response.writeHead(200, { "x-raw": asked.headers.authorization ?? "", "x-base64": Buffer.from(`u:${SECRET}`).toString("base64"), "set-cookie": [`a=${SECRET}`, "b=c"], location: `/x?t=${encodeURIComponent(SECRET)}` }).end();
  }, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const { headers } = await lab.ask(url);
  assert.equal(headers["x-raw"], `Bearer ${STARS}`);
  assert.deepEqual(headers["set-cookie"], [`a=${STARS}`, "b=c"]);
  assert.equal(headers.location, `/x?t=${"*".repeat(encodeURIComponent(SECRET).length)}`);
  assert.match(headers["x-base64"]?.toString() ?? "", /^..[A-Za-z0-9+/]\*{20,}[A-Za-z0-9+/=]*$/);
});

test("a value that another request left with the host is masked, also where this one gets no credential", async (t) => {
  const { lab, url } = await startHost(t, (asked, response) => { response.end(`${asked.headers.authorization ?? "none"} ${SECRET}`); }, { credentials: [{ ...CREDENTIAL, paths: ["/private"] }] });
  await lab.write("api", SECRET);
  assert.equal((await lab.ask(`${url}/public`)).body, `none ${STARS}`);
  assert.equal((await lab.ask(`${url}/private/x`)).body, `Bearer ${STARS} ${STARS}`);
});

test("a credential does not go out in plain HTTP, whatever the port", async (t) => {
  const port = await listen(t, createServer(echo));
  for (const ports of [[port, 443], [port]]) {
    const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports }] }, credentials: [CREDENTIAL] });
    await lab.write("api", SECRET);
    const reply = await askOver(await lab.tunnel(HOST, port), `http://${HOST}:${port}/`);
    assert.equal(JSON.parse(reply.body).headers.authorization, undefined);
  }
});

test("gRPC's word for trailers reaches a host that speaks HTTP/2, and no other", async (t) => {
  for (const protocol of ["h2", "http/1.1"] as const) {
    const { lab, url } = await startHost(t, echo, { protocol });
    const reply = await lab.ask(url, { headers: { te: "trailers, deflate", connection: "te, x-mine", "x-mine": "1" } });
    const { headers } = JSON.parse(reply.body);
    assert.deepEqual([headers.te, headers["x-mine"]], [protocol === "h2" ? "trailers" : undefined, undefined]);
  }
});

test("a body without a length is framed for the host, whatever the method, and no request hides in it", async (t) => {
  const seen: [string, string, string][] = [];
  const { lab, port } = await startHost(t, (asked, response) => {
    const pieces: Buffer[] = [];
    asked.on("data", (piece: Buffer) => pieces.push(piece)).on("end", () => {
      seen.push([asked.method ?? "", asked.url ?? "", Buffer.concat(pieces).toString()]);
      response.end("ok");
    });
  });
  const socket = await lab.secure(HOST, port, { alpn: ["h2"] });
  const session = connectHttp2(`https://${HOST}:${port}`, { createConnection: () => socket });
  t.after(() => { session.destroy(); });
  const hidden = `DELETE /admin HTTP/1.1\r\nhost: ${HOST}:${port}\r\n\r\n`;
  for (const method of ["GET", "POST"]) {
    const stream = session.request({ ":method": method, ":path": "/" }, { endStream: false });
    stream.end(hidden);
    stream.resume();
    await once(stream, "close");
  }
  assert.deepEqual(seen, [["GET", "/", hidden], ["POST", "/", hidden]]);
});

test("requests that are framed in two ways, and targets that are no paths, are refused", async (t) => {
  const { lab, port } = await startHost(t, echo);
  const ask = async (head: string): Promise<string> => {
    const socket: Duplex = await lab.secure(HOST, port);
    socket.write(head);
    const text = await new Promise<string>((done) => {
      socket.once("data", (piece: Buffer) => { done(piece.toString("latin1", 9, 12)); }).once("close", () => { done("closed"); });
    });
    socket.destroy();
    return text;
  };
  const host = `host: ${HOST}:${port}\r\n`;
  assert.equal(await ask(`POST / HTTP/1.1\r\n${host}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`), "closed");
  assert.equal(await ask(`GET http://${HOST}:${port}/ HTTP/1.1\r\n${host}\r\n`), "400");
  assert.equal(await ask(`OPTIONS * HTTP/1.1\r\n${host}\r\n`), "400");
  assert.equal(await ask(`GET / HTTP/1.1\r\n${host}host: evil.example.net\r\n\r\n`), "421");
  assert.equal(await ask(`GET / HTTP/1.1\r\n${host}x: ${"y".repeat(70_000)}\r\n\r\n`), "431");
  assert.deepEqual(lab.dialled, []);
});

test("a host that answers before it has the body is heard, and the connection goes on", async (t) => {
  const { lab, url, port } = await startHost(t, (asked, response) => {
    if (asked.method === "GET") response.end("still here");
    else asked.once("data", () => { response.writeHead(413).end("too large"); });
  });
  const socket = await lab.secure(HOST, port);
  const big = await askOver(socket, url, { method: "PUT", body: Buffer.alloc(3_000_000) });
  assert.deepEqual([big.status, big.body], [413, "too large"]);
  assert.equal((await lab.ask(url)).body, "still here");
});

test("a host that closes a kept connection is asked again", async (t) => {
  let served = 0;
  const { lab, url, port } = await startHost(t, (asked, response) => {
    served++;
    response.end(String(served));
    // As a server does whose idle time is over just now: it never said that it would.
    if (served === 1) response.once("close", () => asked.socket.destroy());
  });
  const socket = await lab.secure(HOST, port);
  const bodies: string[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = () => socket;
  t.after(() => { agent.destroy(); });
  for (let round = 0; round < 3; round++) {
    const client = request({ agent, path: "/", headers: { host: new URL(url).host }, setHost: false }).end();
    const [response] = (await once(client, "response")) as [IncomingMessage];
    for await (const piece of response) bodies.push(String(piece));
  }
  assert.deepEqual(bodies, ["1", "2", "3"]);
});

test("a host is read no faster than the program reads", async (t) => {
  let written = 0;
  const full = Promise.withResolvers<undefined>();
  const { lab, port } = await startHost(t, (_, response: ServerResponse) => {
    const chunk = Buffer.alloc(65_536, "x");
    const pump = (): void => {
      while (written < 256 * 1_048_576) {
        written += chunk.length;
        if (response.write(chunk)) continue;
        response.once("drain", pump);
        return;
      }
      response.end();
    };
    response.socket?.once("timeout", () => { full.resolve(undefined); });
    response.socket?.setTimeout(500);
    pump();
  }, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const socket = await lab.secure(HOST, port);
  socket.write(`GET / HTTP/1.1\r\nhost: ${HOST}:${port}\r\n\r\n`);
  // Nobody reads. The host stops when everything between is full.
  await full.promise;
  assert.ok(written < 64 * 1_048_576, String(written));
});

test("a program's own header goes where a credential takes its place", () => {
  const injected = [{ name: "a", header: "X-Token", value: "new" }];
  assert.deepEqual(injectHeaders({ "x-token": "old", "X-TOKEN": "older", other: "1" }, injected), { other: "1", "x-token": "new" });
});

test("bytes are told with the decision, and while long answers last", () => {
  const told: [EgressNote, [number, number][]][] = [];
  const tally = createTally({
    note(note) {
      const added: [number, number][] = [];
      told.push([note, added]);
      return (sent, received) => added.push([sent, received]);
    },
  });
  const note: EgressNote = { host: HOST, port: 443, decision: "Allow", rule: "network.allowedHosts[0]" };
  tally.sent(5);
  tally.start(note);
  tally.start({ ...note, decision: "Deny" });
  tally.received(1_048_576);
  tally.received(7);
  tally.end();
  tally.received(1);
  assert.deepEqual(told, [[note, [[5, 1_048_576], [0, 7], [0, 1]]]]);
});
