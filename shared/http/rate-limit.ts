/**
 * Rate limits by the generic cell rate algorithm: one number per key (the time at which its allowance is full again), so
 * memory is bounded and a burst up to the whole window is allowed. Pure but for the clock it is given.
 */
import { isIPv6 } from 'node:net';
import type { Clock } from '../clock.ts';

export interface RateLimit {
  readonly requestsMax: number;
  readonly windowMs: number;
  /** Keys remembered; beyond it the longest unseen is forgotten. */
  readonly keysMax: number;
}

export interface RateVerdict {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Seconds until the whole allowance is there again; `retryAfterS` until one request is. */
  readonly resetS: number;
  readonly retryAfterS: number;
}

export interface RateLimiter {
  take(key: string): RateVerdict;
}

export const createRateLimiter = (
  { requestsMax, windowMs, keysMax }: RateLimit,
  clock: Clock,
): RateLimiter => {
  const costMs = windowMs / requestsMax;
  const fullAtMs = new Map<string, number>();

  const remember = (key: string, time: number): void => {
    fullAtMs.delete(key);
    fullAtMs.set(key, time);
    if (fullAtMs.size <= keysMax) return;
    const [oldest] = fullAtMs.keys();
    if (oldest !== undefined) fullAtMs.delete(oldest);
  };

  return {
    take(key) {
      const nowMs = clock.monotonicMs();
      const before = Math.max(fullAtMs.get(key) ?? nowMs, nowMs);
      const after = before + costMs;
      const allowed = after - nowMs <= windowMs + costMs * 1e-6;
      const full = allowed ? after : before;
      remember(key, full);
      return {
        allowed,
        limit: requestsMax,
        remaining: Math.max(0, Math.floor((windowMs - (full - nowMs)) / costMs + 1e-6)),
        resetS: Math.ceil((full - nowMs) / 1000),
        retryAfterS: allowed ? 0 : Math.max(1, Math.ceil((after - nowMs - windowMs) / 1000)),
      };
    },
  };
};

/** An address as a rate key: IPv4 as it is, IPv6 by its /64, because one host owns all of those. */
export const addressKey = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%')[0]!.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
};
