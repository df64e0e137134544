import { createHash } from "node:crypto";
import { crc32, gzipSync } from "node:zlib";

// Real packages, made when they are asked for: npm installs the tarball, Python imports the wheel.

export interface ArchiveFile {
  readonly path: string;
  readonly text: string;
}

const BLOCK = 512;

/** A gzipped ustar archive. Paths of at most 100 bytes. */
export function buildTarball(files: readonly ArchiveFile[]): Buffer {
  const parts = files.flatMap(({ path, text }) => {
    const body = Buffer.from(text);
    return [tarHeader(path, body.length), body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)];
  });
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]));
}

function tarHeader(path: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;
  header.write(path, 0, 100);
  header.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(size, 11) + octal(0, 11), 100);
  header.write("        0", 148); // the checksum counts itself as spaces; then the type: a file
  header.write("ustar\x0000", 257);
  header.write(`${octal(header.reduce((sum, byte) => sum + byte, 0), 6)} `, 148);
  return header;
}

/** A zip archive whose files are stored as they are. */
export function buildZip(files: readonly ArchiveFile[]): Buffer {
  const bodies: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const { path, text } of files) {
    const name = Buffer.from(path);
    const data = Buffer.from(text);
    const fields = zipFields(data, name);
    const local = Buffer.concat([fields, name, data]);
    entries.push(zipEntry(fields, offset), name);
    bodies.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, directory, end]);
}

const VERSION = 20;
const FIRST_OF_1980 = 0x21;

function zipFields(data: Buffer, name: Buffer): Buffer {
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(VERSION, 4);
  header.writeUInt16LE(FIRST_OF_1980, 12);
  header.writeUInt32LE(crc32(data), 14);
  header.writeUInt32LE(data.length, 18);
  header.writeUInt32LE(data.length, 22);
  header.writeUInt16LE(name.length, 26);
  return header;
}

/** The same fields again as the directory has them: one more version in front, and where the file starts. */
function zipEntry(local: Buffer, offset: number): Buffer {
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(VERSION, 4);
  local.copy(entry, 6, 4, 30);
  entry.writeUInt32LE((0o100644 << 16) >>> 0, 38);
  entry.writeUInt32LE(offset, 42);
  return entry;
}

/** npm's word for a tarball's content. */
export function integrityOf(tarball: Buffer): string {
  return `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
}
