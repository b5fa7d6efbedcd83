/** Recoveries under way, for everybody who may see the federation. */
import { z } from 'zod';
import type { HttpApp } from '../../shared/http/app.ts';
import { RecoveryState } from '../../shared/wire/keys.ts';
import type { Recoveries } from '../directory/recoveries.ts';

export const registerDirectoryRoutes = ({ fastify }: HttpApp, recoveries: Recoveries): void => {
  fastify.get(
    '/v1/directory/recoveries',
    {
      config: { access: 'directory.read' },
      schema: {
        summary: 'Sites that get new keys after a loss, and who has approved it',
        response: { 200: z.strictObject({ recoveries: z.array(RecoveryState) }) },
      },
    },
    async () => ({ recoveries: await recoveries.list() }),
  );
};
