import tseslint from "typescript-eslint";

// The laws of the house, as far as a linter can see them; test/architecture.test.ts holds the rest.

const size = (lines) => ({
  "max-lines": ["error", { max: lines }],
  complexity: ["error", 10],
  "max-depth": ["error", 3],
  "max-params": ["error", 4],
});

const forbiddenSyntax = [
  { selector: "ExportDefaultDeclaration", message: "Export by name." },
  { selector: "TSEnumDeclaration", message: "Write a union of strings." },
  { selector: "ExportAllDeclaration", message: "No barrels: import from the file that defines it." },
  { selector: "ClassDeclaration[superClass][superClass.name!=/Error$/]", message: "Compose values; only errors inherit." },
  { selector: "Property[key.name='shell'][value.value=true]", message: "No shell between us and a program: pass an argument vector." },
];

const forbiddenPrograms = { name: "node:child_process", importNames: ["exec", "execSync"], message: "They run a shell: use spawn or execFile with an argument vector." };

/** Packages with one home each. */
const homes = [
  { name: "openai", home: "runner-image/src/model" },
  { name: "node:sqlite", home: "gateway/src/store" },
  { name: "@kubernetes/client-node", home: "operator/src/cluster" },
];

const importsBut = (...names) => ({
  "no-restricted-imports": [
    "error",
    {
      paths: [
        forbiddenPrograms,
        ...homes.filter(({ name }) => !names.includes(name)).map(({ name, home }) => ({ name, message: `Only ${home} uses it.` })),
      ],
    },
  ],
});

export default tseslint.config(
  { ignores: ["**/node_modules/", ".cluster/", "charts/", "examples/", "test/cluster/host/hyper/", "test/cluster/host/cri/", "test/cluster/host/cilium/"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      ...size(400),
      ...importsBut(),
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "object-shorthand": "error",
      "no-console": "error",
      "no-eval": "error",
      "no-restricted-syntax": ["error", ...forbiddenSyntax],
      "no-restricted-properties": ["error", { object: "process", property: "env", message: "Only config.ts reads the environment." }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
      "@typescript-eslint/consistent-type-exports": "error",
      "@typescript-eslint/no-import-type-side-effects": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      // node:test's functions return promises that the runner itself awaits.
      "@typescript-eslint/no-floating-promises": [
        "error",
        { allowForKnownSafeCalls: [{ from: "package", package: "node:test", name: ["test", "it", "describe", "suite", "before", "after", "beforeEach", "afterEach"] }] },
      ],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true, allowNullish: false }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrors: "all" }],
      // Our objects are closures: their methods have no this to lose.
      "@typescript-eslint/unbound-method": "off",
      // It does not see that another callback changes a variable between two awaits.
      "@typescript-eslint/no-unnecessary-condition": "off",
      "@typescript-eslint/no-invalid-void-type": "off",
      "@typescript-eslint/no-meaningless-void-operator": "off",
      // Kubernetes' objects are plain data, whatever classes the client's types name.
      "@typescript-eslint/no-unsafe-class-instance-assignment": "off",
      "@typescript-eslint/prefer-promise-reject-errors": ["error", { allowThrowingUnknown: true }],
      // An async function without await still turns a throw into a rejection, which is what its interface promises.
      "@typescript-eslint/require-await": "off",
    },
  },
  { files: ["**/src/config.ts", "test/config.ts"], rules: { "no-restricted-properties": "off" } },
  { files: ["runner-image/src/model/**/*.ts"], rules: importsBut("openai") },
  { files: ["gateway/src/store/**/*.ts"], rules: importsBut("node:sqlite") },
  { files: ["operator/src/cluster/**/*.ts", "test/**/*.ts"], rules: importsBut("@kubernetes/client-node") },
  { files: ["test/**/*.ts", "crds/generate.ts"], rules: { "no-console": "off" } },
  {
    files: ["**/*.test.ts", "**/*.cases.ts"],
    rules: {
      ...size(800),
      ...importsBut("@kubernetes/client-node", "node:sqlite"),
      // Tests read JSON and hand over values that no type allows.
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/restrict-template-expressions": "off",
    },
  },
  { files: ["eslint.config.js", "**/*.mjs"], extends: [tseslint.configs.base], rules: size(400) },
);
