/** Whose tasks a request makes and sees. */
import type { FastifyRequest } from 'fastify';
import { principalOf } from '../../shared/http/bearer.ts';
import { OPERATOR_ROLE } from '../../shared/http/roles.ts';
import type { TaskCaller } from '../tasks/executor.ts';

export const callerOf = (request: FastifyRequest): TaskCaller => {
  const { role, id } = principalOf(request);
  // The operator's key is a new one at each start; its tasks stay its own.
  return { role, owner: role === OPERATOR_ROLE ? OPERATOR_ROLE : id };
};
