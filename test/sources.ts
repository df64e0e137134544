import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import ts from "typescript";
import { ROOT } from "./steps.ts";

/** An import or re-export as written. */
export interface Import {
  readonly specifier: string;
  /** Path of the imported file in the checkout, for relative imports and @paddock/api. */
  readonly file: string | undefined;
  readonly isTypeOnly: boolean;
}

/** A source file with its syntax tree. */
export interface Source {
  /** Relative to the checkout, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
  readonly imports: readonly Import[];
}

const API = "@paddock/api/";

/** Every TypeScript file of ours. */
export function readSources(): readonly Source[] {
  const folders = ["crds", "operator", "gateway", "runner-image", "sandbox-image", "test"];
  const paths = globSync(folders.map((folder) => `${folder}/**/*.ts`), { cwd: ROOT, exclude: (path) => path.includes("node_modules") });
  return paths.sort().map((path) => {
    const text = readFileSync(join(ROOT, path), "utf8");
    return parseSource(path, text);
  });
}

export function parseSource(path: string, text: string): Source {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2024, true);
  return { path, text, tree, imports: findImports(path, tree) };
}

/** Every node of a tree that `matches`, as line numbers. */
export function findLines({ tree }: Source, matches: (node: ts.Node) => boolean): readonly number[] {
  const lines: number[] = [];
  const visit = (node: ts.Node): void => {
    if (matches(node)) lines.push(tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return lines;
}

function findImports(path: string, tree: ts.SourceFile): readonly Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    const target = targetOf(node);
    if (target && ts.isStringLiteral(target)) found.push({ specifier: target.text, file: fileOf(path, target.text), isTypeOnly: isTypeOnly(node) });
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

function targetOf(node: ts.Node): ts.Expression | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  return ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword ? node.arguments[0] : undefined;
}

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isImportDeclaration(node)) return node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
  return ts.isExportDeclaration(node) && node.isTypeOnly;
}

function fileOf(from: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return normalize(join(dirname(from), specifier));
  return specifier.startsWith(API) ? `crds/src/${specifier.slice(API.length)}.ts` : undefined;
}
