import { DAY_MS, HOUR_MS } from '../clock.ts';
import { QflError } from '../errors.ts';

/** A moment as ISO 8601, or so many hours or days ago: `24h`, `30d`. @throws QflError `invalid_request` */
export const momentOf = (text: string): number => {
  const [, count, unit] = /^(\d+)(h|d)$/.exec(text) ?? [];
  if (count !== undefined) return Date.now() - Number(count) * (unit === 'h' ? HOUR_MS : DAY_MS);
  const timeMs = Date.parse(text);
  if (Number.isNaN(timeMs))
    throw new QflError('invalid_request', {
      detail: `"${text}" is no time`,
      next: 'Give it as 2026-11-20T08:00:00Z, or as 24h or 30d before now.',
    });
  return timeMs;
};

/** `YYYY-MM` as [first, beyond), in UTC. @throws QflError `invalid_request` */
export const monthOf = (text: string): { readonly fromMs: number; readonly toMs: number } => {
  const [, year, month] = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(text) ?? [];
  if (year === undefined || month === undefined)
    throw new QflError('invalid_request', { detail: `"${text}" is no month`, next: 'Give it as 2026-11.' });
  return { fromMs: Date.UTC(Number(year), Number(month) - 1), toMs: Date.UTC(Number(year), Number(month)) };
};
