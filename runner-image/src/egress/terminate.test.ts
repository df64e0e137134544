import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer as createHttp1, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { connect as connectHttp2, constants } from "node:http2";
import type { ClientHttp2Session, Http2Stream, IncomingHttpHeaders } from "node:http2";
import { connect, createServer as createNet } from "node:net";
import { describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { TestContext } from "node:test";
import { echo, HOST, startHost } from "./testdata/host.ts";
import type { Setting } from "./testdata/host.ts";
import { askOver, listen, startInspected } from "./testdata/inspected.ts";
import type { InspectedLab } from "./testdata/inspected.ts";

const SECRET = "tok-3f9a/x+7Q==secret";

const CREDENTIAL = { name: "api", secretKeyRef: { name: "tokens", key: "api" }, hosts: [HOST] };

async function openHttp2(t: TestContext, { lab, port }: Setting): Promise<ClientHttp2Session> {
  const socket = await lab.secure(HOST, port, { alpn: ["h2"] });
  assert.equal(socket.alpnProtocol, "h2");
  const session = connectHttp2(`https://${HOST}:${port}`, { createConnection: () => socket });
  session.on("error", () => undefined);
  t.after(() => { session.destroy(); });
  return session;
}

async function askHttp2(session: ClientHttp2Session, headers: Record<string, string>, body?: string): Promise<{ status: number; headers: Record<string, unknown>; body: string; trailers: unknown }> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  let trailers: unknown;
  stream.on("trailers", (received) => { trailers = received; });
  const [received] = (await once(stream, "response")) as [IncomingHttpHeaders];
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return { status: Number(received[":status"]), headers: received, body: Buffer.concat(pieces).toString(), trailers };
}

for (const protocol of ["http/1.1", "h2"] as const) {
  describe(`a host that speaks ${protocol}`, () => {
    test("a request of HTTP/1.1 goes through with its body", async (t) => {
      const { lab, url, port } = await startHost(t, echo, { protocol });
      const reply = await lab.ask(`${url}/a/b?c=d`, { method: "POST", headers: { "x-own": "1" }, body: "hello" });
      assert.equal(reply.status, 200);
      const seen = JSON.parse(reply.body);
      assert.deepEqual([seen.method, seen.path, seen.host, seen.body, seen.headers["x-own"]], ["POST", "/a/b?c=d", `${HOST}:${port}`, "hello", "1"]);
      assert.deepEqual(lab.notes, [{ host: HOST, port, method: "POST", decision: "Allow", rule: "network.allowedHosts[0]", sent: 5, received: reply.body.length }]);
    });

    test("a request of HTTP/2 goes through with its body", async (t) => {
      const setting = await startHost(t, echo, { protocol });
      const session = await openHttp2(t, setting);
      const reply = await askHttp2(session, { ":method": "POST", ":path": "/x" }, "hello");
      const seen = JSON.parse(reply.body);
      assert.deepEqual([reply.status, seen.method, seen.path, seen.body], [200, "POST", "/x", "hello"]);
    });

    test("many requests share the connections that there are", async (t) => {
      const setting = await startHost(t, echo, { protocol });
      const session = await openHttp2(t, setting);
      const replies = await Promise.all(Array.from({ length: 30 }, (_, index) => askHttp2(session, { ":path": `/${index}` })));
      assert.deepEqual(replies.map(({ body }) => String(JSON.parse(body).path)), Array.from({ length: 30 }, (_, index) => `/${index}`));
      assert.ok(setting.lab.dialled.length <= 8, String(setting.lab.dialled.length));
    });

    test("a large body goes both ways without being held", async (t) => {
      const { lab, url } = await startHost(t, (request, response) => { request.pipe(response); }, { protocol });
      const body = Buffer.alloc(8 * 1_048_576, "abcdefgh");
      const reply = await lab.ask(url, { method: "PUT", body });
      assert.equal(reply.body.length, body.length);
      assert.deepEqual(lab.notes.map(({ sent, received }) => [sent, received]), [[body.length, body.length]]);
    });

    test("answers without a body end", async (t) => {
      const { lab, url } = await startHost(t, (request, response) => {
        response.writeHead(request.url === "/204" ? 204 : request.url === "/304" ? 304 : 200, request.method === "HEAD" ? { "content-length": "42" } : {}).end();
      }, { protocol });
      const statuses = [];
      for (const [method, path] of [["HEAD", "/"], ["GET", "/204"], ["GET", "/304"], ["GET", "/200"]] as const) {
        const reply = await lab.ask(url + path, { method });
        statuses.push([reply.status, reply.headers["content-length"] ?? "", reply.body]);
      }
      assert.deepEqual(statuses.map(([status, length]) => [status, length === "42"]), [[200, true], [204, false], [304, false], [200, false]]);
    });

    test("a credential is added, and what the host says of it is masked", async (t) => {
      const setting = await startHost(t, echo, { protocol, credentials: [CREDENTIAL] });
      const { lab, url } = setting;
      await lab.write("api", `${SECRET}\n`);
      const reply = await lab.ask(url, { headers: { authorization: "Bearer mine", "accept-encoding": "gzip", range: "bytes=0-10" } });
      const seen = JSON.parse(reply.body);
      assert.equal(seen.headers.authorization, `Bearer ${"*".repeat(SECRET.length)}`);
      assert.equal(seen.headers["accept-encoding"], "identity");
      assert.equal(seen.headers.range, undefined);
      const session = await openHttp2(t, setting);
      const second = await askHttp2(session, { ":path": "/" });
      assert.equal(JSON.parse(second.body).headers.authorization, `Bearer ${"*".repeat(SECRET.length)}`);
      assert.deepEqual(lab.notes.map(({ credential }) => credential), ["api", "api"]);
      assert.doesNotMatch(lab.redactor.text(`x ${SECRET} y`), /tok-3f9a/);
    });

    test("a host that breaks off in the middle of an answer is seen to", async (t) => {
      const { lab, url } = await startHost(t, (_, response) => {
        response.write("some");
        setImmediate(() => {
          if ("stream" in response) (response.stream as Http2Stream).close(constants.NGHTTP2_INTERNAL_ERROR);
          else response.destroy();
        });
      }, { protocol });
      await assert.rejects(lab.ask(url));
    });
  });
}

test("TLS that names another host than CONNECT is refused", async (t) => {
  const { lab, port } = await startHost(t, echo);
  await assert.rejects(lab.secure(HOST, port, { servername: "other.example.com" }));
  assert.deepEqual(lab.notes.map(({ decision, rule }) => [decision, rule]), [["Deny", "NameMismatch"]]);
  assert.deepEqual(lab.dialled, []);
});

test("TLS is refused here too, when nobody has looked at its greeting before", async (t) => {
  const { lab, port } = await startHost(t, echo);
  const shake = async (servername: string | undefined): Promise<unknown> => {
    const socket = connectTls({ socket: lab.terminated({ host: HOST, port }), ca: lab.authority.certificate, host: HOST, ...(servername === undefined ? {} : { servername }) });
    const settled = await new Promise((done) => {
      socket.once("secureConnect", () => { done("open"); }).once("error", () => { done("refused"); }).once("close", () => { done("refused"); });
    });
    socket.destroy();
    return settled;
  };
  assert.equal(await shake(HOST.toUpperCase()), "open");
  assert.equal(await shake("other.example.com"), "refused");
  assert.equal(await shake(""), "refused");
  assert.deepEqual(lab.notes.map(({ rule }) => rule), ["NameMismatch"]);
});

test("a request for another host than the connection's is refused", async (t) => {
  const setting = await startHost(t, echo, { credentials: [CREDENTIAL] });
  const { lab, url } = setting;
  await lab.write("api", SECRET);
  for (const host of ["evil.example.com", `${HOST}:1`, `${HOST}.evil.example.com`, ""]) {
    const reply = await lab.ask(url, { headers: { host } });
    assert.equal(reply.status, 421, host);
  }
  const session = await openHttp2(t, setting);
  assert.equal((await askHttp2(session, { ":authority": "evil.example.com" })).status, 421);
  assert.equal((await askHttp2(session, { host: "evil.example.com" })).status, 421);
  assert.deepEqual(lab.dialled, []);
  assert.ok(lab.notes.every(({ rule }) => rule === "NameMismatch"));
});

test("a method that no entry allows is refused with what to change, and nobody is dialled", async (t) => {
  const { lab, url } = await startHost(t, echo);
  const reply = await lab.ask(`${url}/x`, { method: "DELETE" });
  assert.equal(reply.status, 403);
  assert.match(reply.body, /DELETE.*spec\.network\.allowedHosts\[0\]\.methods of Environment dev/);
  assert.deepEqual(lab.dialled, []);
});

test("headers that make servers take another method or path do not go on", async (t) => {
  const { lab, url } = await startHost(t, echo);
  const reply = await lab.ask(url, { headers: { "x-http-method-override": "DELETE", x_http_method_override: "DELETE", "x-original-url": "/admin", "proxy-authorization": "Basic x" } });
  const { headers } = JSON.parse(reply.body);
  assert.deepEqual([headers["x-http-method-override"], headers["x_http_method_override"], headers["x-original-url"], headers["proxy-authorization"]], [undefined, undefined, undefined, undefined]);
});

test("a redirect to a host that is not listed ends in a refusal, and no credential goes there", async (t) => {
  const seen: unknown[] = [];
  const { lab, url, port } = await startHost(t, (request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(302, { location: `https://evil.example.net:${port}/steal` }).end();
  }, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const reply = await lab.ask(url);
  assert.deepEqual([reply.status, reply.headers.location], [302, `https://evil.example.net:${port}/steal`]);
  await assert.rejects(lab.ask(String(reply.headers.location)), /CONNECT was answered 403/);
  assert.deepEqual(seen, [`Bearer ${SECRET}`]);
  assert.deepEqual(lab.dialled, [HOST]);
});

test("a credential that is missing is said to the program and to people, and the request does not go", async (t) => {
  const { lab, url } = await startHost(t, echo, { credentials: [CREDENTIAL] });
  for (const value of [undefined, "", "\n", "two\nlines", "tab\there"]) {
    await lab.write("api", value);
    const reply = await lab.ask(url);
    assert.equal(reply.status, 503, JSON.stringify(value));
    assert.match(reply.body, /Credential api cannot be used: secret tokens, key api/);
    assert.doesNotMatch(reply.body, /lines|there/);
  }
  assert.deepEqual(lab.dialled, []);
  assert.deepEqual(lab.missing.map(({ subject }) => subject), Array.from({ length: 3 }, () => "secret tokens, key api"));
  await lab.write("api", SECRET);
  assert.equal((await lab.ask(url)).status, 200);
});

test("a rotated credential counts for the next request, and the old one stays masked", async (t) => {
  const { lab, url, port } = await startHost(t, (request, response) => { response.end(`${request.headers.authorization ?? ""} old-value-1234`); }, { credentials: [CREDENTIAL] });
  await lab.write("api", "old-value-1234");
  const socket = await lab.secure(HOST, port);
  assert.equal((await askOver(socket, url)).body, `Bearer ${"*".repeat(14)} ${"*".repeat(14)}`);
  await lab.write("api", "new-value-5678-x");
  assert.equal((await lab.ask(url)).body, `Bearer ${"*".repeat(16)} ${"*".repeat(14)}`);
});

test("an authority that nobody knows is named with the field that adds it", async (t) => {
  const { port } = await startHost(t, echo);
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port], methods: ["GET"] }] } });
  const reply = await lab.ask(`https://${HOST}:${port}`);
  assert.equal(reply.status, 502);
  assert.match(reply.body, /spec\.network\.caBundle of Environment dev/);
  assert.doesNotMatch(reply.body, /127\.0\.0\.1/);
});

test("a host whose certificate is for another name is refused", async (t) => {
  const { lab, port } = await startHost(t, echo, { network: { allowedHosts: [{ host: "*.example.com", ports: [1, 2, 3], methods: ["GET"] }] } });
  const other = await startInspected(t, { network: { allowedHosts: [{ host: "other.example.com", ports: [port], methods: ["GET"] }] }, bundle: await bundleOf(lab) });
  const reply = await other.ask(`https://other.example.com:${port}`);
  assert.equal(reply.status, 502);
  assert.match(reply.body, /its certificate is for other names/);
});

async function bundleOf(lab: InspectedLab): Promise<string> {
  return readFile(`${lab.folder}/bundle.crt`, "utf8");
}

test("a host that does not answer, and one that talks nonsense, are told apart", async (t) => {
  const nonsense = createNet((socket) => { socket.on("error", () => undefined).once("data", () => { socket.end("SSH-2.0-x\r\n"); }); });
  const port = await listen(t, nonsense);
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port, 1] }] } });
  const reply = await askOver(await lab.tunnel(HOST, port), `http://${HOST}:${port}/`);
  assert.equal(reply.status, 502);
  assert.match(reply.body, /its answer is not HTTP/);
  assert.deepEqual(lab.notes.at(-1), { host: HOST, port, method: "GET", decision: "Deny", rule: "Unreachable", sent: 0, received: 0 });
});

test("plain HTTP inside CONNECT and in absolute form is carried request by request", async (t) => {
  const port = await listen(t, createHttp1(echo));
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port] }] }, credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const inside = await askOver(await lab.tunnel(HOST, port), `http://${HOST}:${port}/in`, { method: "POST", body: "x" });
  assert.equal(JSON.parse(inside.body).body, "x");
  const socket = connect(lab.proxyPort, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.write(`POST http://${HOST}:${port}/abs?q=1 HTTP/1.1\r\nhost: ${HOST}:${port}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi`);
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece as Buffer);
  const text = Buffer.concat(pieces).toString();
  assert.match(text, /^HTTP\/1\.1 200/);
  assert.match(text, /"path":"\/abs\?q=1"/);
  assert.match(text, /"body":"hi"/);
});

test("trailers reach a program that speaks HTTP/2, masked", async (t) => {
  const setting = await startHost(t, (_, response) => {
    response.addTrailers({ "grpc-status": "0", "x-token": SECRET });
    response.end("body");
  }, { protocol: "h2", credentials: [CREDENTIAL] });
  await setting.lab.write("api", SECRET);
  const session = await openHttp2(t, setting);
  const reply = await askHttp2(session, { ":path": "/" });
  assert.equal(reply.body, "body");
  assert.deepEqual(Object.fromEntries(Object.entries(reply.trailers as object)), { "grpc-status": "0", "x-token": "*".repeat(SECRET.length) });
});

test("a program that asks before it sends its body is answered first", async (t) => {
  const { lab, port } = await startHost(t, echo);
  const asked = async (method: string): Promise<[boolean, number]> => {
    const socket = await lab.secure(HOST, port);
    const client = request({ createConnection: () => socket, method, path: "/", headers: { host: `${HOST}:${port}`, expect: "100-continue", "content-length": "4" }, setHost: false });
    let told = false;
    client.once("continue", () => {
      told = true;
      client.end("body");
    });
    client.flushHeaders();
    const [response] = (await once(client, "response")) as [IncomingMessage];
    response.resume();
    socket.destroy();
    return [told, response.statusCode ?? 0];
  };
  assert.deepEqual(await asked("PUT"), [true, 200]);
  assert.deepEqual(await asked("DELETE"), [false, 403]);
});

test("when the gate closes, what is under way ends", async (t) => {
  const { lab, url, port } = await startHost(t, (_, response) => { response.write("endless"); });
  const socket = await lab.secure(HOST, port);
  const client = request({ createConnection: () => socket, path: "/", headers: { host: new URL(url).host }, setHost: false }).end();
  client.on("error", () => undefined);
  const [response] = (await once(client, "response")) as [IncomingMessage];
  response.on("error", () => undefined).resume();
  const closed = new Promise((done) => response.once("close", done));
  lab.stop();
  await closed;
  assert.equal(response.complete, false);
});

test("a host that is silent for too long is given up", async (t) => {
  const { lab, url } = await startHost(t, () => undefined, { limits: { idleMs: 300 } });
  const session = await lab.secure(HOST, Number(new URL(url).port));
  const reply = await lab.ask(url, { socket: session });
  assert.equal(reply.status, 504);
  assert.match(reply.body, /it sent nothing for 0\.3 s/);
});
