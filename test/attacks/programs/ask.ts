// Asks an address over HTTP, once. Reports `{status, body}`; `status` 0 is no answer.
import { readFileSync } from "node:fs";

const argument = process.argv.at(-1) ?? "{}";
const { url, init } = JSON.parse(argument.startsWith("{") ? argument : readFileSync(argument, "utf8")) as { url: string; init: RequestInit };
const reply = await fetch(url, { ...init, signal: AbortSignal.timeout(10_000) }).then(async (response) => ({ status: response.status, body: (await response.text()).slice(0, 400) }), (error: unknown) => ({ status: 0, body: String(error) }));
console.log(`RESULT ${JSON.stringify(reply)}`);
