import { kubectl, must } from "../e2e/kubectl.ts";
import { inLanes } from "../steps.ts";
import type { Canary } from "./canaries.ts";
import type { Found } from "./places.ts";
import { findCanaries } from "./search.ts";

// Every object that the API server lists, events included.

/** An object as the API server gives it. */
interface StoredObject {
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly type?: string;
  readonly data?: object;
  readonly stringData?: object;
}

/** Where Helm keeps what it has installed. */
const HELM_RELEASE = "helm.sh/release.v1";

/** A Secret's data is where secrets belong; all else of it, and Helm's record of a release, is not. Pure. */
export function withoutSecretData(object: StoredObject, kind: string): StoredObject {
  if (kind !== "Secret" || object.type === HELM_RELEASE) return object;
  const { data: _, stringData: __, ...rest } = object;
  return rest;
}

/** The texts of an object by their paths, such as `spec.containers[0].env[2].value`; keys count as texts of the path they are at. Pure. */
export function leavesOf(value: unknown, path = ""): readonly (readonly [path: string, text: string])[] {
  if (typeof value === "string") return [[path, value]];
  if (Array.isArray(value)) return value.flatMap((item, index) => leavesOf(item, `${path}[${index}]`));
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, item]) => [[`${path} (a key)`, key] as const, ...leavesOf(item, path === "" ? key : `${path}.${key}`)]);
}

/** Findings in one object, each with its field. Pure. */
export function findInObject(object: StoredObject, kind: string, canaries: readonly Canary[]): readonly Found[] {
  const { name = "", namespace } = object.metadata ?? {};
  const place = `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
  const seen = withoutSecretData(object, kind);
  const whole = findCanaries(JSON.stringify(seen), canaries);
  if (whole.length === 0) return [];
  const byField = leavesOf(seen).flatMap(([path, text]) => findCanaries(text, canaries).map(({ canary, encoding }) => ({ canary, encoding, place, where: path })));
  return byField.length > 0 ? byField : whole.map(({ canary, encoding }) => ({ canary, encoding, place, where: "several fields together" }));
}

interface Kind {
  readonly resource: string;
  readonly kind: string;
  readonly listPath: string;
}

interface ResourceList {
  readonly groupVersion: string;
  readonly resources: readonly { readonly name: string; readonly kind: string; readonly verbs: readonly string[] }[];
}

async function raw<T>(path: string): Promise<T> {
  return JSON.parse(await must(["get", "--raw", path])) as T;
}

/** Every kind that can be listed, in the version that the server prefers. */
async function listKinds(): Promise<readonly Kind[]> {
  const { groups } = await raw<{ groups: readonly { preferredVersion: { groupVersion: string } }[] }>("/apis");
  const roots = ["/api/v1", ...groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`)];
  const lists = await Promise.all(roots.map(async (root) => {
    // An aggregated API whose server is away lists nothing that could hold a secret now.
    const { code, stdout } = await kubectl(["get", "--raw", root]);
    return code === 0 ? ([[root, JSON.parse(stdout) as ResourceList]] as const) : [];
  }));
  return lists.flat().flatMap(([root, { resources }]) =>
    resources.filter(({ name, verbs }) => verbs.includes("list") && !name.includes("/")).map(({ name, kind }) => ({ resource: name, kind, listPath: `${root}/${name}` })));
}

/** Findings in every object of the cluster; `onKind` is told how many objects of each kind were looked at. */
export async function findInObjects(canaries: readonly Canary[], onKind: (resource: string, objects: number) => void = () => undefined): Promise<readonly Found[]> {
  const kinds = await listKinds();
  const found: Found[] = [];
  await inLanes(kinds, 3, async ({ resource, kind, listPath }) => {
    const { code, stdout, stderr } = await kubectl(["get", "--raw", listPath]);
    if (code !== 0) throw new Error(`cannot list ${resource}, so it was not looked at: ${stderr.trim()}`);
    const { items } = JSON.parse(stdout) as { items: readonly StoredObject[] };
    onKind(resource, items.length);
    for (const item of items) found.push(...findInObject(item, kind, canaries));
  });
  return found;
}

