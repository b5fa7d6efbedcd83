/** What administrators of a site do with keys beside their own rotation: compare fingerprints, approve a recovery, object to one. */
import { z } from 'zod';
import { requireSite } from '../../shared/directory/chain.ts';
import { showOwnKeys, showSites } from '../../shared/directory/show.ts';
import { QflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { registerKeyRoutes } from '../../shared/http/key-routes.ts';
import { SiteId } from '../../shared/ids.ts';
import type { Clock } from '../../shared/clock.ts';
import type { MasterSource } from '../../shared/keys/master.ts';
import {
  ApproveRequest,
  CompareRequest,
  OwnKeysShown,
  RecoveryState,
  SiteKeysPage,
} from '../../shared/wire/keys.ts';
import type { Comparisons } from '../federation/comparisons.ts';
import type { Federation } from '../federation/federation.ts';
import type { AgentHome } from '../home.ts';

export interface AgentKeyOptions {
  readonly home: AgentHome;
  readonly federation: Federation;
  readonly comparisons: Comparisons;
  readonly clock: Clock;
  epochDays(): number;
  rotateMaster(file: string | null, role: string): Promise<MasterSource>;
}

const SiteParams = z.strictObject({ site: SiteId });

export const registerAgentKeys = (app: HttpApp, options: AgentKeyOptions): void => {
  const { home, federation, comparisons, clock } = options;
  const { mirror } = federation;
  const show = () =>
    showOwnKeys({
      name: home.profile.site,
      vault: home.vault,
      directory: mirror.seen,
      nowMs: clock.nowMs(),
      epochDays: options.epochDays(),
    });
  const sites = () =>
    showSites({
      seen: mirror.seen,
      state: mirror.state,
      nowMs: clock.nowMs(),
      compared: (keys) => comparisons.of(keys),
    });
  registerKeyRoutes(app, {
    show,
    sites,
    rotate: (kind, role) => federation.rotate(kind, role),
    rotateMaster: (file, role) => options.rotateMaster(file, role),
  });
  app.fastify.post(
    '/v1/directory/sites/:site/compare',
    {
      config: { access: 'directory.change' },
      schema: {
        summary: 'A fingerprint phrase that was read by telephone',
        params: SiteParams,
        body: CompareRequest,
        response: { 200: SiteKeysPage },
      },
    },
    async (request) => {
      const { site } = request.params;
      if (site === home.profile.site)
        throw new QflError('invalid_request', {
          detail: 'this is the site itself; compare it at another hospital',
        });
      const keys = requireSite(mirror.state, site, clock.nowMs());
      await comparisons.compare(keys, request.body.phrase, principalOf(request).role);
      return { sites: sites().filter((one) => one.site === site) };
    },
  );
  app.fastify.post(
    '/v1/directory/recoveries/approve',
    {
      config: { access: 'directory.change' },
      schema: {
        summary: "Another site's new keys after a loss; the phrase as it was read by telephone",
        body: ApproveRequest,
        response: { 200: RecoveryState },
      },
    },
    (request) =>
      federation.approveRecovery(request.body.request, request.body.phrase, principalOf(request).role),
  );
  app.fastify.post(
    '/v1/directory/recoveries/undo',
    {
      config: { access: 'directory.change' },
      schema: {
        summary: 'The keys here are not lost: ends a recovery of this name that waits',
        response: { 200: OwnKeysShown },
      },
    },
    async (request) => {
      await federation.speak(principalOf(request).role);
      return show();
    },
  );
};
