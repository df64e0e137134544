// The gateway's process: gateway/src/main.ts as it is, which ends with the harness.
process.once("disconnect", () => process.exit(1));
await import("../../../gateway/src/main.ts");
