/** Who is connected now, and what they last told of themselves. A connection counts only while it is its site's newest. */
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import type { Telemetry } from '../../shared/wire/session.ts';

export const TELEMETRY_INTERVAL_MS = 2_000;
/** Telemetry older than three intervals says nothing: unknown, not idle. */
export const TELEMETRY_STALE_MS = 3 * TELEMETRY_INTERVAL_MS;

export interface Connection {
  readonly site: SiteId;
  readonly peer: Peer;
  readonly connectedMs: number;
  close(error: QflError): void;
}

export interface Presence {
  /** The site's newest connection; an older one is closed. */
  arrived(connection: Connection): void;
  /** Forgets the connection, unless a newer one has taken its place. */
  left(connection: Connection): void;
  of(site: SiteId): Connection | undefined;
  online(): readonly SiteId[];
  report(connection: Connection, telemetry: Telemetry): void;
  /** Undefined when nothing recent is known. */
  telemetry(site: SiteId): Telemetry | undefined;
  /** How long ago the site last reported; undefined when it never did. */
  telemetryAgeMs(site: SiteId): number | undefined;
  disconnect(site: SiteId, error: QflError): void;
  closeAll(error: QflError): void;
}

const modelNames = (telemetry: Telemetry | undefined): string | undefined =>
  telemetry?.models.map(({ id }) => id).join();

export const createPresence = (clock: Clock, changed: () => void): Presence => {
  const connections = new Map<SiteId, Connection>();
  const reports = new Map<SiteId, { telemetry: Telemetry; atMonotonicMs: number }>();
  const drop = (connection: Connection): void => {
    if (connections.get(connection.site) !== connection) return;
    connections.delete(connection.site);
    reports.delete(connection.site);
    changed();
  };
  return {
    arrived(connection) {
      const older = connections.get(connection.site);
      connections.set(connection.site, connection);
      older?.close(new QflError('conflict', { detail: 'a newer connection of this site took its place' }));
      changed();
    },
    left: drop,
    of: (site) => connections.get(site),
    online: () => [...connections.keys()],
    report(connection, telemetry) {
      if (connections.get(connection.site) !== connection) return;
      const before = reports.get(connection.site);
      reports.set(connection.site, { telemetry, atMonotonicMs: clock.monotonicMs() });
      if (
        modelNames(before?.telemetry) !== modelNames(telemetry) ||
        before?.telemetry.draining !== telemetry.draining ||
        before.telemetry.records !== telemetry.records
      )
        changed();
    },
    telemetry(site) {
      const report = reports.get(site);
      return report !== undefined && clock.monotonicMs() - report.atMonotonicMs <= TELEMETRY_STALE_MS
        ? report.telemetry
        : undefined;
    },
    telemetryAgeMs(site) {
      const report = reports.get(site);
      return report === undefined ? undefined : clock.monotonicMs() - report.atMonotonicMs;
    },
    disconnect: (site, error) => connections.get(site)?.close(error),
    closeAll(error) {
      for (const connection of connections.values()) connection.close(error);
    },
  };
};
