/** What each site is told of the others, sent when it changes; changes close together are told once. */
import type { SiteId } from '../../shared/ids.ts';
import { type Board, METHODS } from '../../shared/wire/session.ts';
import type { KeyLog } from '../directory/key-log.ts';
import type { Presence } from './presence.ts';
import type { Registry } from './registry.ts';

const GATHER_MS = 20;

export interface BoardTeller {
  /** Something on the board changed. */
  changed(): void;
  /** The board as `site` sees it. */
  viewOf(site: SiteId): Board;
  close(): void;
}

export const createBoardTeller = (
  registry: Registry,
  presence: () => Presence,
  keyLog: KeyLog,
): BoardTeller => {
  let timer: NodeJS.Timeout | undefined;
  const isApproved = (site: SiteId): boolean =>
    registry.list().some((entry) => entry.site === site && entry.status === 'approved');
  const viewOf = (site: SiteId): Board => ({
    directorySize: keyLog.log.size,
    approved: isApproved(site),
    sites: registry
      .list()
      .filter(({ status }) => status === 'approved')
      .map((entry) => {
        const telemetry = presence().telemetry(entry.site);
        const models =
          telemetry === undefined || telemetry.draining ? [] : telemetry.models.map(({ id }) => id);
        return {
          site: entry.site,
          online: presence().of(entry.site) !== undefined,
          models,
          records: telemetry?.records ?? false,
        };
      }),
  });
  const tell = (): void => {
    timer = undefined;
    for (const site of presence().online())
      if (isApproved(site))
        presence()
          .of(site)
          ?.peer.notify(METHODS.board, { header: viewOf(site) });
  };
  return {
    viewOf,
    changed: () => void (timer ??= setTimeout(tell, GATHER_MS)),
    close: () => clearTimeout(timer),
  };
};
