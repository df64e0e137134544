import { z } from "zod";
import { sessionSpecSchema } from "./session.ts";
import type { BaseStatus, Resource } from "./object.ts";

const FIVE_FIELDS = /^[^\s=]+(\s+[^\s=]+){4}$/;
const labels = (description: string) => z.record(z.string().max(317), z.string().max(1024)).meta({ description, maxProperties: 32 });

export const scheduleSpecSchema = z
  .object({
    schedule: z
      .string()
      .min(9)
      .max(256)
      .regex(FIVE_FIELDS)
      .meta({
        description: 'schedule in the five fields of cron, e.g. "30 6 * * 1-5"; required.',
        "x-kubernetes-validations": [{ rule: "!self.contains('TZ=')", message: "a time zone does not belong in the expression: use spec.timeZone" }],
      }),
    timeZone: z.string().min(1).max(64).regex(/^[A-Za-z0-9_+/-]+$/).describe("timeZone is an IANA name such as Europe/Berlin; absent means UTC.").optional(),
    concurrencyPolicy: z.enum(["Allow", "Forbid", "Replace"]).describe("concurrencyPolicy says what happens when the last session still runs; absent means Forbid.").optional(),
    startingDeadlineSeconds: z.int().min(0).max(604800).describe("startingDeadlineSeconds is how late in seconds a run may still start; absent means 300.").optional(),
    suspend: z.boolean().describe("suspend stops the schedule from firing; must be true in this release, which does not fire schedules.").optional(),
    successfulSessionsHistoryLimit: z.int().min(0).max(100).describe("successfulSessionsHistoryLimit is how many successful sessions are kept; absent means 3.").optional(),
    failedSessionsHistoryLimit: z.int().min(0).max(100).describe("failedSessionsHistoryLimit is how many failed sessions are kept; absent means 1.").optional(),
    sessionTemplate: z
      .object({
        metadata: z
          .object({
            labels: labels("labels of each session; absent means none.").optional(),
            annotations: labels("annotations of each session; absent means none.").optional(),
          })
          .describe("metadata of each session; absent means none.")
          .optional(),
        spec: sessionSpecSchema.describe("spec of each session; required."),
      })
      .describe("sessionTemplate is what each run creates; required."),
  })
  .meta({
    description: "spec says when which session is created.",
    // Nothing fires schedules in this release: rather than accept and ignore one, it must say that it is suspended.
    "x-kubernetes-validations": [
      { rule: "has(self.suspend) && self.suspend", message: "this release does not fire schedules yet: write suspend: true, or create Sessions", fieldPath: ".suspend" },
    ],
  });

export type ScheduleSpec = z.infer<typeof scheduleSpecSchema>;
export type Schedule = Resource<ScheduleSpec, BaseStatus>;
