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
