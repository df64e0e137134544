import type { Bundle } from "@paddock/api/log/bundle";

/** Where the sandbox image has its workspace. */
const WORKSPACE = "/workspace";

/**
 * The system message: the Agent's instructions, then the facts of where it runs. Pure, and the same text for the whole session, so that
 * providers can cache what follows it.
 */
export function buildInstructions({ agent, environment, limits, startTime }: Bundle): string {
  const facts = [
    `The session started on ${startTime.slice(0, 10)} (UTC).`,
    `Limits: ${limits.maxTurns} answers of yours and ${limits.timeoutSeconds} seconds in all; then the session ends, finished or not.`,
    ...(hasHands({ agent, environment }) ? [`Tools run in a sandbox with the workspace ${WORKSPACE}, as a user without privileges and without any network.`] : []),
  ];
  return `${agent.spec.instructions.trimEnd()}\n\n# Where you run\n\n${facts.map((fact) => `- ${fact}`).join("\n")}`;
}

function hasHands({ agent, environment }: Pick<Bundle, "agent" | "environment">): boolean {
  return (agent.spec.tools ?? []).length > 0 && environment.spec.sandbox?.provisioning !== "Never";
}
