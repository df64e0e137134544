// What runner and sandbox pods have in common: Pod Security "restricted" and more.

/** Numeric users of our images; the group owns mounted files and volumes. */
export const RUNNER_UID = 65532;
export const SANDBOX_UID = 10001;

/** Octal 0440: user and group read, nobody else. */
export const READ_ONLY_MODE = 0o440;

export function buildPodSecurity(uid: number) {
  return {
    runAsNonRoot: true,
    runAsUser: uid,
    runAsGroup: uid,
    fsGroup: uid,
    fsGroupChangePolicy: "OnRootMismatch",
    seccompProfile: { type: "RuntimeDefault" },
  };
}

export function buildContainerSecurity() {
  return {
    allowPrivilegeEscalation: false,
    privileged: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  };
}
