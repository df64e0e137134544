import { z } from "zod";
import { labelMap, labelValue } from "./refs.ts";
import { sessionSpecSchema } from "./session.ts";
import { celString, matching } from "./text.ts";
import type { BaseStatus, Resource } from "./object.ts";

const FIVE_FIELDS = "^\\S+(\\s+\\S+){4}$";

interface CronField {
  readonly name: string;
  readonly range: string;
  /** Pattern of one value. */
  readonly value: string;
}

const CRON_FIELDS: readonly CronField[] = [
  { name: "minute", range: "0–59", value: "[0-5]?[0-9]" },
  { name: "hour", range: "0–23", value: "([01]?[0-9]|2[0-3])" },
  { name: "day of month", range: "1–31", value: "(0?[1-9]|[12][0-9]|3[01])" },
  { name: "month", range: "1–12 or JAN–DEC", value: "(0?[1-9]|1[0-2]|[Jj][Aa][Nn]|[Ff][Ee][Bb]|[Mm][Aa][RrYy]|[Aa][Pp][Rr]|[Jj][Uu][NnLl]|[Aa][Uu][Gg]|[Ss][Ee][Pp]|[Oo][Cc][Tt]|[Nn][Oo][Vv]|[Dd][Ee][Cc])" },
  { name: "day of week", range: "0–7 or SUN–SAT", value: "([0-7]|[Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt])" },
];

// One rule per field, so that the answer names the field that is wrong. A rule leaves texts without five fields to FIVE_FIELDS.
const cronRules = CRON_FIELDS.map(({ name, range, value }, index) => {
  const item = `(\\*|${value}(-${value})?)(/[1-9][0-9]?)?`;
  const before = index === 0 ? "" : `(\\S+\\s+){${index}}`;
  const after = index === 4 ? "" : `(\\s+\\S+){${4 - index}}`;
  const pattern = `^${before}${item}(,${item})*${after}$`;
  return {
    rule: `!self.matches(${celString(FIVE_FIELDS)}) || self.contains('TZ=') || self.matches(${celString(pattern)})`,
    message: `the ${name} (field ${index + 1}) is outside ${range}: write *, a value, a range such as 1-5, a list such as 1,3 or a step such as */2`,
  };
});

export const scheduleSpecSchema = z
  .object({
    schedule: z
      .string()
      .min(1)
      .max(256)
      .meta({
        description: 'schedule in the five fields of cron, e.g. "30 6 * * 1-5"; required.',
        "x-kubernetes-validations": [
          { rule: "!self.contains('TZ=')", message: "a time zone does not belong in the expression: use spec.timeZone" },
          {
            rule: `self.contains('TZ=') || self.matches(${celString(FIVE_FIELDS)})`,
            message: 'write the five fields of cron: minute, hour, day of month, month, day of week, e.g. "30 6 * * 1-5"; no seconds, no @daily',
          },
          ...cronRules,
        ],
      }),
    timeZone: matching("^[A-Za-z][A-Za-z0-9_+/-]*$", 64, {
      description: "timeZone is an IANA name such as Europe/Berlin; absent means UTC.",
      hint: "write an IANA time zone such as Europe/Berlin, or leave the field out for UTC",
    }).optional(),
    concurrencyPolicy: z.enum(["Allow", "Forbid", "Replace"]).describe("concurrencyPolicy says what happens when the last session still runs; absent means Forbid.").optional(),
    startingDeadlineSeconds: z.int().min(0).max(604800).describe("startingDeadlineSeconds is how late in seconds a run may still start; absent means 300.").optional(),
    suspend: z.boolean().describe("suspend stops the schedule from firing; ending it never fires for the past; absent means false.").optional(),
    sessionMode: z
      .enum(["New", "Resume"])
      .describe("sessionMode: New creates a session at each time, Resume sends the prompt to one long Conversation; absent means New.")
      .optional(),
    successfulSessionsHistoryLimit: z.int().min(0).max(100).describe("successfulSessionsHistoryLimit is how many successful sessions are kept; absent means 3.").optional(),
    failedSessionsHistoryLimit: z.int().min(0).max(100).describe("failedSessionsHistoryLimit is how many failed sessions are kept; absent means 1.").optional(),
    sessionTemplate: z
      .object({
        metadata: z
          .object({
            labels: labelMap("labels of each session; absent means none.", 32, labelValue).optional(),
            annotations: labelMap("annotations of each session; absent means none.", 32, z.string().max(1024)).optional(),
          })
          .describe("metadata of each session; absent means none.")
          .optional(),
        spec: sessionSpecSchema.describe("spec of each session; required."),
      })
      .describe("sessionTemplate is what each run creates; required."),
  })
  .meta({
    description: "spec says when which session is created.",
  });

export type ScheduleSpec = z.infer<typeof scheduleSpecSchema>;

const time = (description: string) => z.string().max(64).meta({ description, format: "date-time" }).optional();

/** Status fields besides conditions and observedGeneration. */
export const scheduleStatusSchema = z.object({
  nextScheduleTime: time("nextScheduleTime is when the schedule fires next, RFC 3339; absent while it is suspended or never fires."),
  lastScheduleTime: time("lastScheduleTime is the time of the newest run, as scheduled, RFC 3339; absent before the first."),
  lastSuccessfulTime: time("lastSuccessfulTime is when a run last ended well, RFC 3339; absent before the first."),
  active: z.int().min(0).describe("active is the number of sessions of the schedule that have not finished; absent before the first look at the object.").optional(),
  missed: z.int().min(0).describe("missed is the number of times that passed without a run, suspended ones aside; absent means 0.").optional(),
  observedTrigger: z.string().max(256).describe("observedTrigger is the newest value of the annotation paddock.dev/trigger that was acted on; absent before the first.").optional(),
  conversation: z
    .object({
      name: z.string().max(253).describe("name of the Session that prompts are sent to.").optional(),
      generation: z.int().min(1).describe("generation counts the conversations of the schedule, from 1.").optional(),
    })
    .describe("conversation that sessionMode Resume goes on with; absent otherwise.")
    .optional(),
});

export type ScheduleStatus = BaseStatus & Readonly<z.infer<typeof scheduleStatusSchema>>;
export type Schedule = Resource<ScheduleSpec, ScheduleStatus>;
