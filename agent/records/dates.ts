/** Calendar days as `YYYY-MM-DD` strings, which sort as they follow each other. */
const PARTIAL = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$/;
const DAY_MS = 86_400_000;

const dayText = (timeMs: number): string => new Date(timeMs).toISOString().slice(0, 10);

/**
 * The half-open interval of days that a FHIR date (`1960`, `1960-05`, `1960-05-17`) names; undefined when there is
 * no such date.
 */
export const daysOf = (text: string): { readonly first: string; readonly after: string } | undefined => {
  const match = PARTIAL.exec(text);
  if (match === null) return undefined;
  const year = Number(match[1]);
  const month = match[2] === undefined ? undefined : Number(match[2]);
  const day = match[3] === undefined ? undefined : Number(match[3]);
  if (year < 1000 || year > 9998) return undefined;
  const first = dayText(Date.UTC(year, (month ?? 1) - 1, day ?? 1));
  // Date.UTC rolls 31 February over; what comes back must be what went in.
  if (!first.startsWith(text)) return undefined;
  if (month === undefined) return { first, after: dayText(Date.UTC(year + 1, 0, 1)) };
  if (day === undefined) return { first, after: dayText(Date.UTC(year, month, 1)) };
  return { first, after: dayText(Date.UTC(year, month - 1, day) + DAY_MS) };
};

const DAY_AFTER_FEBRUARY = '-03-01';

/** The day after `text`, which may be a 29 February that the year does not have: that one ends with February. */
const dayAfter = (text: string): string => daysOf(text)?.after ?? `${text.slice(0, 4)}${DAY_AFTER_FEBRUARY}`;

const yearsBefore = (day: string, years: number): string =>
  `${String(Number(day.slice(0, 4)) - years).padStart(4, '0')}${day.slice(4)}`;

/** Days of birth of who is, on `day`, at least `from` and below `below` whole years old. */
export const bornBetween = (
  day: string,
  from: number | undefined,
  below: number | undefined,
): { readonly from?: string; readonly before?: string } => ({
  ...(from === undefined ? {} : { before: dayAfter(yearsBefore(day, from)) }),
  ...(below === undefined ? {} : { from: dayAfter(yearsBefore(day, below)) }),
});

/** Whole years on `day` of who was born on `birth`; undefined before birth and for what is no day. */
export const ageOn = (day: string, birth: string | undefined): number | undefined => {
  if (birth === undefined || daysOf(birth) === undefined || birth > day) return undefined;
  const years = Number(day.slice(0, 4)) - Number(birth.slice(0, 4));
  return birth.slice(5) > day.slice(5) ? years - 1 : years;
};
