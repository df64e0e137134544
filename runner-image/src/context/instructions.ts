import type { Bundle } from "@paddock/api/log/bundle";

/** Where the sandbox image has its workspace. */
const WORKSPACE = "/workspace";

/**
 * The system message: the Agent's instructions, then the facts of where it runs. Pure, and the same text for the whole session, so that
 * providers can cache what follows it. Throws when the bundle has no instructions, which no operator makes.
 */
export function buildInstructions({ session, mode, files = [], agent, environment, limits, startTime }: Bundle): string {
  const { instructions } = agent.spec;
  if (instructions === undefined) {
    throw new Error(`the bundle of session ${session.namespace}/${session.name} has no agent.spec.instructions: the operator fills them in before it binds a session`);
  }
  const span = mode === "Conversation" ? "for each message you are sent" : "in all";
  const facts = [
    `The session started on ${startTime.slice(0, 10)} (UTC).`,
    `Limits: ${limits.maxTurns} answers of yours and ${limits.timeoutSeconds} seconds ${span}; then the session ends, finished or not.`,
    ...(hasHands({ agent, environment }) ? [`Tools run in a sandbox with the workspace ${WORKSPACE}, as a user without privileges and without any network.`, ...fileFacts(files)] : []),
  ];
  return `${instructions.trimEnd()}\n\n# Where you run\n\n${facts.map((fact) => `- ${fact}`).join("\n")}`;
}

function fileFacts(files: NonNullable<Bundle["files"]>): readonly string[] {
  return files.length === 0 ? [] : [`Files given to you in the workspace: ${files.map(({ path }) => path).join(", ")}.`];
}

function hasHands({ agent, environment }: Pick<Bundle, "agent" | "environment">): boolean {
  return (agent.spec.tools ?? []).length > 0 && environment.spec.sandbox?.provisioning !== "Never";
}
