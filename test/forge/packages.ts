import { createHash } from "node:crypto";
import { buildTarball, buildZip, integrityOf } from "./archive.ts";

// One tiny package for npm and one for Python, each as its registry serves it.

export const NPM_PACKAGE = "forge-greeting";
export const PYTHON_PACKAGE = "forge_greeting";
const VERSION = "1.0.0";
/** What both packages say. */
export const GREETING = "a greeting from the forge";

const tarball = buildTarball([
  { path: "package/package.json", text: JSON.stringify({ name: NPM_PACKAGE, version: VERSION, main: "index.js" }) },
  { path: "package/index.js", text: `module.exports = ${JSON.stringify(GREETING)};\n` },
]);

const info = `${PYTHON_PACKAGE}-${VERSION}.dist-info`;
const wheel = buildZip([
  { path: `${PYTHON_PACKAGE}/__init__.py`, text: `GREETING = ${JSON.stringify(GREETING)}\n` },
  { path: `${info}/METADATA`, text: `Metadata-Version: 2.1\nName: ${PYTHON_PACKAGE.replace("_", "-")}\nVersion: ${VERSION}\n` },
  { path: `${info}/WHEEL`, text: "Wheel-Version: 1.0\nGenerator: forge\nRoot-Is-Purelib: true\nTag: py3-none-any\n" },
  { path: `${info}/RECORD`, text: `${PYTHON_PACKAGE}/__init__.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n` },
]);
const WHEEL_NAME = `${PYTHON_PACKAGE}-${VERSION}-py3-none-any.whl`;

export interface Served {
  readonly type: string;
  readonly body: string | Buffer;
}

/** What a registry has at the path: `/npm/…` and Python's `/simple/…`; undefined for what it has not. `origin`: of the request, for addresses in answers. Pure. */
export function findServed(path: string, origin: string): Served | undefined {
  switch (path) {
    case `/npm/${NPM_PACKAGE}`:
      return { type: "application/json", body: JSON.stringify(buildPackument(origin)) };
    case `/npm/${NPM_PACKAGE}/-/${NPM_PACKAGE}-${VERSION}.tgz`:
      return { type: "application/octet-stream", body: tarball };
    case "/simple/forge-greeting/":
      return { type: "text/html", body: `<!DOCTYPE html><a href="/simple/files/${WHEEL_NAME}#sha256=${createHash("sha256").update(wheel).digest("hex")}">${WHEEL_NAME}</a>\n` };
    case `/simple/files/${WHEEL_NAME}`:
      return { type: "application/zip", body: wheel };
    default:
      return undefined;
  }
}

function buildPackument(origin: string): object {
  const dist = { tarball: `${origin}/npm/${NPM_PACKAGE}/-/${NPM_PACKAGE}-${VERSION}.tgz`, integrity: integrityOf(tarball) };
  return { name: NPM_PACKAGE, "dist-tags": { latest: VERSION }, versions: { [VERSION]: { name: NPM_PACKAGE, version: VERSION, main: "index.js", dist } } };
}
