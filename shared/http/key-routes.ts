/** Routes of both programs for their own keys and the directory's: `qfl keys …` talks to these. */
import type { HttpApp } from './app.ts';
import { principalOf } from './bearer.ts';
import type { RotationKind } from '../keys/vault.ts';
import type { MasterSource } from '../keys/master.ts';
import {
  MasterRequest,
  MasterRotated,
  OwnKeysShown,
  RotateRequest,
  SiteKeysPage,
  type SiteKeysShown,
} from '../wire/keys.ts';

export interface KeyRouteOptions {
  show(): Promise<OwnKeysShown>;
  sites(): Promise<SiteKeysShown[]> | SiteKeysShown[];
  rotate(kind: RotationKind, role: string): Promise<void>;
  rotateMaster(file: string | null, role: string): Promise<MasterSource>;
}

export const registerKeyRoutes = ({ fastify }: HttpApp, options: KeyRouteOptions): void => {
  fastify.get(
    '/v1/directory/keys',
    {
      config: { access: 'directory.read' },
      schema: {
        summary: "This program's own keys: epochs, ages, fingerprint",
        response: { 200: OwnKeysShown },
      },
    },
    () => options.show(),
  );
  fastify.get(
    '/v1/directory/sites',
    {
      config: { access: 'directory.read' },
      schema: { summary: 'Keys of everybody in the directory', response: { 200: SiteKeysPage } },
    },
    async () => ({ sites: await options.sites() }),
  );
  fastify.post(
    '/v1/directory/keys/rotate',
    {
      config: { access: 'directory.change' },
      schema: {
        summary: 'New keys of this program, now',
        body: RotateRequest,
        response: { 200: OwnKeysShown },
      },
    },
    async (request) => {
      await options.rotate(request.body.what, principalOf(request).role);
      return options.show();
    },
  );
  fastify.post(
    '/v1/directory/keys/master',
    {
      config: { access: 'machine.files' },
      schema: {
        summary: 'Another master key for what is stored here',
        body: MasterRequest,
        response: { 200: MasterRotated },
      },
    },
    async (request) => ({ source: await options.rotateMaster(request.body.file, principalOf(request).role) }),
  );
};
