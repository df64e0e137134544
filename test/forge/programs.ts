import { CANARY } from "./scene.ts";

// Programs that tests have the scripted model write into a sandbox and run there.

/** A command that runs a program given as text, without any quoting of it. */
export function runNodeProgram(program: string, ...args: readonly string[]): string {
  return `echo ${Buffer.from(program).toString("base64")} | base64 -d > /tmp/program.mjs && node /tmp/program.mjs ${args.join(" ")}`;
}

export function runPythonProgram(program: string, ...args: readonly string[]): string {
  return `echo ${Buffer.from(program).toString("base64")} | base64 -d > /tmp/program.py && python3 /tmp/program.py ${args.join(" ")}`;
}

/** Fetches a package from an index as pip does, checks it against the index's digest, and imports it. The image has no pip. */
export const PYTHON_INSTALL = `
import hashlib, re, sys, urllib.request
from urllib.parse import urljoin
index = sys.argv[1]
page = urllib.request.urlopen(index).read().decode()
href, digest = re.search(r'href="([^#"]+)#sha256=([0-9a-f]{64})"', page).groups()
wheel = urllib.request.urlopen(urljoin(index, href)).read()
assert hashlib.sha256(wheel).hexdigest() == digest
path = "/tmp/" + href.rsplit("/", 1)[1]
open(path, "wb").write(wheel)
sys.path.insert(0, path)
import forge_greeting
print(forge_greeting.GREETING)
`;

/**
 * Searches what the sandbox's user can read for anything shaped like the forge's token: environments, memory and files. Prints
 * \`found: N in PLACES\`. It plants one such text itself, in the environment and memory of a child process, to show that it finds what is there.
 */
export const CANARY_SEARCH = `
import os, re, subprocess
SHAPE = re.compile(b"${CANARY}")
planted = "for" + "ge-" + os.urandom(16).hex()
child = subprocess.Popen(["sleep", "60"], env={"PLANTED": planted})
readable, found, control = set(), [], False
def note(place, text):
    global control
    for value in SHAPE.findall(text):
        if value == planted.encode():
            control = True
        else:
            found.append(place)
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) == os.getpid():
        continue
    for name in ("environ", "cmdline"):
        try:
            note(f"/proc/{pid}/{name}", open(f"/proc/{pid}/{name}", "rb").read())
        except OSError:
            pass
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                low, high = (int(part, 16) for part in line.split()[0].split("-"))
                if " r" not in line or high - low > 1 << 28:
                    continue
                try:
                    memory.seek(low)
                    note(f"memory of {pid}", memory.read(high - low))
                    readable.add(pid)
                except (OSError, OverflowError, ValueError):
                    pass
    except OSError:
        pass
for folder in ("/workspace", "/tmp", "/run", "/etc", "/var", "/home", "/opt", "/root"):
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            try:
                if os.path.isfile(path) and os.path.getsize(path) < 1 << 26:
                    note(path, open(path, "rb").read())
            except OSError:
                pass
child.kill()
print("processes read:", len(readable))
print("control found:", control)
print("found:", len(found), "in", sorted(set(found))[:5])
`;

/** Says hello over a WebSocket through the proxy that HTTPS_PROXY names, then asks what the server got: node program.mjs HOST PORT PATH. */
export const WEBSOCKET_CLIENT = `
import http from "node:http";
import tls from "node:tls";
import { randomBytes } from "node:crypto";
const [host, port, path] = process.argv.slice(2);
const proxy = new URL(process.env.HTTPS_PROXY);
const frame = (text) => {
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length]), mask, Buffer.from(text).map((byte, i) => byte ^ mask[i % 4])]);
};
http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: host + ":" + port }).on("connect", (answer, raw) => {
  if (answer.statusCode !== 200) { console.log("proxy:", answer.statusCode); process.exit(1); }
  const secure = tls.connect({ socket: raw, servername: host, ALPNProtocols: ["http/1.1"] }, () => {
    http.request({ createConnection: () => secure, host, port, defaultPort: 443, path, headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": randomBytes(16).toString("base64") } })
      .on("response", (response) => { console.log("refused:", response.statusCode); process.exit(1); })
      .on("upgrade", (_, socket) => {
        let all = Buffer.alloc(0);
        socket.on("data", (data) => {
          const before = all.length;
          all = Buffer.concat([all, data]);
          if (before < 7 && all.length >= 7) socket.write(frame("reflect"));
          if (all.length > 9 && all.length >= 9 + (all[8] & 0x7f)) { console.log("first:", all.subarray(2, 7).toString()); console.log("then:", all.subarray(9).toString()); process.exit(0); }
        });
        socket.write(frame("hello"));
      })
      .end();
  });
  secure.on("error", (error) => { console.log("tls:", error.message); process.exit(1); });
}).on("error", (error) => { console.log("proxy:", error.message); process.exit(1); }).end();
`;
