import { Duplex } from "node:stream";
import { connect } from "node:tls";
import type { ConnectionOptions } from "node:tls";

/** What Node's TLS (OpenSSL) sends first. */
export function helloOf(options: ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        pieces.push(chunk);
        done();
        const all = Buffer.concat(pieces);
        if (all.length >= 5 + all.readUInt16BE(3)) {
          resolve(all);
          wire.destroy();
        }
      },
    });
    connect({ socket: wire, ...options }).on("error", () => undefined);
  });
}
