/** How a hospital's table says what is known of its patients: declared by whoever imports it, since no table says so itself. */
import { z } from 'zod';
import { Code } from './learning.ts';

/** By its name in the first row; or by its number from 0, as in a table without names. */
const Column = z.union([z.string().min(1).max(200), z.int().min(0).max(4_095)]);
export type Column = z.infer<typeof Column>;

/** As written in the table; numbers are equal however they are written (1, 1.0). */
const Values = z.array(z.string().min(1).max(40)).min(1).max(64);

/** What a value says of the patient. */
const meanings = {
  /** In years. */
  age: { role: z.literal('age') },
  sex: { role: z.literal('sex'), female: Values, male: Values },
  /** The patient has the condition where the value is one of these, and has it not where it is another, or missing. */
  condition: { role: z.literal('condition'), condition: Code, values: Values },
};

const TableColumn = z.discriminatedUnion('role', [
  /** Whose row it is. Rows of one patient lie together. Where no column says it, each row is a patient. */
  z.strictObject({ role: z.literal('patient'), column: Column }),
  /** Of all measurements in the row: `clock` is HH:MM (hours may pass 24), `hours` a number, `date` an ISO date or time. */
  z.strictObject({ role: z.literal('time'), column: Column, format: z.enum(['clock', 'hours', 'date']) }),
  z.strictObject({ ...meanings.age, column: Column }),
  z.strictObject({ ...meanings.sex, column: Column }),
  z.strictObject({ ...meanings.condition, column: Column }),
  /** A wide table: one column a code. */
  z.strictObject({
    role: z.literal('measurement'),
    column: Column,
    code: Code,
    unit: z.string().max(40).optional(),
  }),
]);
export type TableColumn = z.infer<typeof TableColumn>;

/** Values under these codes are not measurements: they are not read, or say something of the patient. */
const LongCode = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal('ignore'), code: z.string().max(200) }),
  z.strictObject({ ...meanings.age, code: z.string().max(200) }),
  z.strictObject({ ...meanings.sex, code: z.string().max(200) }),
  z.strictObject({ ...meanings.condition, code: z.string().max(200) }),
]);
export type LongCode = z.infer<typeof LongCode>;

/** A long table: one row a measurement. Measurements under a code that no feature can name are not read. */
const Long = z.strictObject({
  code: Column,
  value: Column,
  unit: Column.optional(),
  codes: z.array(LongCode).max(256).default([]),
});

export const CsvSchema = z
  .strictObject({
    /** Does the first row name the columns? */
    header: z.boolean().default(true),
    separator: z.enum([',', ';', '\t', '|']).default(','),
    /** How the table writes that something is not known. */
    missing: z.array(z.string().max(40)).max(32).default(['']),
    columns: z.array(TableColumn).max(4_096).default([]),
    long: Long.optional(),
  })
  .refine(({ columns }) => columns.filter(({ role }) => role === 'patient').length <= 1, {
    error: 'one column at most says whose row it is',
  })
  .refine(({ columns }) => columns.filter(({ role }) => role === 'time').length <= 1, {
    error: 'one column at most says when',
  });
export type CsvSchema = z.infer<typeof CsvSchema>;
