import { isDeepStrictEqual } from "node:util";
import type { AdmissionObject } from "@paddock/api/admission/policy";
import type { AdmissionView } from "../sources.ts";

/** A policy or binding as the API server holds it, as far as the review looks at it. */
export interface HeldPolicy {
  readonly spec?: unknown;
  /** What the API server's own controller found when it checked the expressions against the schemas it knows. */
  readonly status?: { readonly typeChecking?: { readonly expressionWarnings?: readonly { readonly fieldRef: string; readonly warning: string }[] } };
  readonly metadata?: { readonly name?: string; readonly deletionTimestamp?: string };
}

/** What was found under one name: the object, nothing, or a refusal to show it. */
export type Finding = HeldPolicy | "absent" | "forbidden";

const INSTALL = "a cluster administrator puts it right with `helm upgrade` of the chart, or, with admission.install=false, by applying the rendered templates/admission.yaml";
const MAX_SHOWN = 3;

/** Whether policies and bindings are what this release was made with. `findings` stand in the order of `wanted`. Pure. */
export function reviewAdmission(wanted: readonly AdmissionObject[], findings: readonly Finding[]): AdmissionView {
  const all = wanted.flatMap((object, index) => problemOf(object, findings[index] ?? "absent") ?? []);
  if (all.length === 0) return { trusted: true, problems: [] };
  const more = all.length > MAX_SHOWN ? [`${all.length - MAX_SHOWN} more policies or bindings are not as they should be`] : [];
  return { trusted: false, problems: [...all.slice(0, MAX_SHOWN), ...more] };
}

function problemOf(object: AdmissionObject, found: Finding): string | undefined {
  const name = `${object.kind} ${object.metadata.name}`;
  if (found === "absent") return `${name} does not exist: ${INSTALL}`;
  if (found === "forbidden") return `the operator may not get ${name}: ${INSTALL}, whose ClusterRole paddock-operator-cluster gives that right`;
  if (found.metadata?.deletionTimestamp !== undefined) return `${name} is being deleted: ${INSTALL}`;
  const field = differingField(object.spec, found.spec);
  if (field !== undefined) return `${name} was changed in spec.${field}: ${INSTALL}`;
  const warning = found.status?.typeChecking?.expressionWarnings?.[0];
  if (warning !== undefined) return `${name} does not type-check at ${warning.fieldRef} (${firstLine(warning.warning)}): install the CustomResourceDefinitions of the same release`;
  return undefined;
}

/** Every field counts, those that are not ours too: a match condition added by somebody would be a hole. */
function differingField(wanted: AdmissionObject["spec"], held: unknown): string | undefined {
  const spec = isRecord(held) ? held : {};
  return [...new Set([...Object.keys(wanted), ...Object.keys(spec)])].find((field) => !isDeepStrictEqual(wanted[field], spec[field]));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function firstLine(text: string): string {
  return (text.split("\n").find((line) => line.trim() !== "") ?? "").trim().slice(0, 200);
}
