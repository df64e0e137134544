import { z } from "zod";
import { GROUP } from "./group.ts";
import { labelMap, labelValue } from "./refs.ts";
import { sessionSpecSchema } from "./session.ts";
import { celString, matching } from "./text.ts";
import type { BaseStatus, Resource } from "./object.ts";

const FIVE_FIELDS = "^[^ \\t]+([ \\t]+[^ \\t]+){4}$";

interface CronField {
  readonly name: string;
  readonly range: string;
  /** Pattern of one value. */
  readonly value: string;
  /** Pattern of a step. */
  readonly step: string;
  /** Pattern of a range whose first value is the larger one. */
  readonly reversed: string;
}

const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT"];

/** One number with or without a leading zero, or its name. */
const one = (value: number, names: readonly string[]): string => [value < 10 ? `0?${value}` : String(value), ...names.slice(value - 1, value)].join("|");

/** All numbers below `value`, and their names. */
function below(value: number, names: readonly string[]): string {
  const [tens, digit] = [Math.floor(value / 10), value % 10];
  const same = digit === 0 ? [] : [`${tens === 0 ? "0?" : tens}[0-${digit - 1}]`];
  const lower = tens === 0 ? [] : ["0?[0-9]", ...(tens === 1 ? [] : [`[1-${tens - 1}][0-9]`])];
  return [...lower, ...same, ...names.slice(0, value - 1)].join("|");
}

// CEL could compare numbers, but the API server finds that too dear in a list of unknown length.
function reversed(max: number, names: readonly string[] = []): string {
  return Array.from({ length: max }, (_, index) => `(${one(index + 1, names)})-(${below(index + 1, names)})`).join("|");
}

const CRON_FIELDS: readonly CronField[] = [
  { name: "minute", range: "0–59", value: "[0-5]?[0-9]", step: "([1-9]|[1-5][0-9])", reversed: reversed(59) },
  { name: "hour", range: "0–23", value: "([01]?[0-9]|2[0-3])", step: "([1-9]|1[0-9]|2[0-3])", reversed: reversed(23) },
  { name: "day of month", range: "1–31", value: "(0?[1-9]|[12][0-9]|3[01])", step: "([1-9]|[12][0-9]|3[01])", reversed: reversed(31) },
  { name: "month", range: "1–12 or JAN–DEC", value: `(0?[1-9]|1[0-2]|${MONTHS.join("|")})`, step: "([1-9]|1[0-2])", reversed: reversed(12, MONTHS) },
  // SUN is both 0 and, at the end of a range such as SAT-SUN, 7.
  { name: "day of week", range: "0–7 or SUN–SAT", value: `([0-7]|SUN|${WEEKDAYS.join("|")})`, step: "[1-7]", reversed: reversed(7, WEEKDAYS) },
];

/** CEL for a field. */
const fieldAt = (index: number): string => `self.replace('\\t', ' ').split(' ').filter(f, f != '')[${index}]`;

// Per field one rule for what stands in it and one for the order of its ranges, so that the answer names field and item. Texts without five
// fields have an answer of their own.
const cronRules = CRON_FIELDS.flatMap(({ name, range, value, step, reversed: larger }, index) => {
  const field = fieldAt(index);
  const item = `(\\*|${value}(-${value})?)(/${step})?`;
  const before = index === 0 ? "" : `([^ \\t]+[ \\t]+){${index}}`;
  const after = index === 4 ? "" : `([ \\t]+[^ \\t]+){${4 - index}}`;
  const isRight = `self.matches(${celString(`^(?i:${before}${item}(,${item})*${after})$`)})`;
  const isReversed = `self.matches(${celString(`^(?i:${before}([^ \\t]*,)?(${larger})(/[^ \\t,]*)?(,[^ \\t]*)?${after})$`)})`;
  const isOther = `!self.matches(${celString(FIVE_FIELDS)}) || self.contains('TZ=')`;
  const write = "write *, a value, a range such as 1-5, a list such as 1,3 or a step such as */2";
  const mend = "write the smaller value first, or a list";
  return [
    {
      rule: `${isOther} || ${isRight}`,
      message: `the ${name} is outside ${range}: ${write}`,
      messageExpression: `'${name} ' + ${field}.split(',').filter(i, !i.matches(${celString(`^(?i:${item})$`)}))[0] + ' is outside ${range}: ${write}'`,
    },
    {
      rule: `${isOther} || !${isReversed}`,
      message: `the ${name} has a range upside down: ${mend}`,
      messageExpression: `'${name} ' + ${field} + ' has a range upside down: ${mend}'`,
    },
  ];
});

// The 30th and 31st of February, and the 31st of the shorter months, while the day of the week says nothing. What else never fires, the operator tells.
const SHORT_MONTHS = [2, 4, 6, 9, 11].map((month) => one(month, MONTHS)).join("|");
const absentDay = (days: string, months: string): string => `(${days})([,-](${days}))*[ \\t]+(${months})(,(${months}))*`;
const NEVER_FIRES = {
  rule: `!self.matches(${celString(`^(?i:([^ \\t]+[ \\t]+){2}(${absentDay("30|31", one(2, MONTHS))}|${absentDay("31", SHORT_MONTHS)})[ \\t]+\\*)$`)})`,
  message: "never fires, because no year has such a day: write a day of the month that its months have",
};

const IS_NEW = "!has(self.sessionMode) || self.sessionMode != 'Resume'";

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
          NEVER_FIRES,
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
          .meta({
            description: "metadata of each session; absent means none.",
            "x-kubernetes-validations": ["labels", "annotations"].map((member) => ({
              rule: `!has(self.${member}) || self.${member}.all(key, !key.startsWith('${GROUP}/'))`,
              message: `${member} under ${GROUP}/ are Paddock's own: write them under another prefix`,
            })),
          })
          .optional(),
        spec: sessionSpecSchema.describe("spec of each session; required."),
      })
      .describe("sessionTemplate is what each run creates; required."),
  })
  .meta({
    description: "spec says when which session is created.",
    "x-kubernetes-validations": [
      {
        rule: `${IS_NEW} || has(self.sessionTemplate.spec.mode) && self.sessionTemplate.spec.mode == 'Conversation'`,
        message: "sessionMode Resume goes on with one long conversation: write sessionTemplate.spec.mode: Conversation",
      },
      {
        rule: `${IS_NEW} || !has(self.sessionTemplate.spec.promptFrom)`,
        message: "sessionMode Resume sends the prompt itself at each time: write sessionTemplate.spec.prompt instead of promptFrom",
      },
      {
        rule: `${IS_NEW} || !has(self.concurrencyPolicy) || self.concurrencyPolicy != 'Replace'`,
        message: "sessionMode Resume has nothing to replace: write concurrencyPolicy Forbid, which waits for the answer under way, or Allow",
      },
    ],
  });

export type ScheduleSpec = z.infer<typeof scheduleSpecSchema>;

const time = (description: string) => z.string().max(64).meta({ description, format: "date-time" }).optional();

/** Status fields besides conditions and observedGeneration. */
export const scheduleStatusSchema = z.object({
  nextScheduleTime: time("nextScheduleTime is when the schedule fires next, RFC 3339; absent while it is suspended or never fires."),
  lastScheduleTime: time("lastScheduleTime is the time of the newest run, as scheduled, RFC 3339; absent before the first."),
  lastCompletionTime: time("lastCompletionTime is when a run last ended, well or not, RFC 3339; absent before the first and with sessionMode Resume."),
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
