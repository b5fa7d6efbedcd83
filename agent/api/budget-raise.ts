/** A raise of the budgets that waits, and its approval by two people of the site. */
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { RaiseApproval, RaisePending, RaiseShown } from '../../shared/wire/budget-raise.ts';
import type { BudgetRaise } from '../budget-raise.ts';

export const registerBudgetRaise = ({ fastify }: HttpApp, raise: BudgetRaise): void => {
  fastify.get(
    '/v1/admin/budgets/raise',
    {
      config: { access: 'budgets.read' },
      schema: { summary: 'The raise that waits for two people', response: { 200: RaisePending } },
    },
    () => ({ pending: raise.pending() }),
  );
  fastify.post(
    '/v1/admin/budgets/raise/approve',
    {
      config: { access: 'budgets.raise' },
      schema: {
        summary: 'Approve it; the second person puts it in force',
        body: RaiseApproval,
        response: { 200: RaiseShown },
      },
    },
    (request) => raise.approve(request.body.digest, principalOf(request)),
  );
};
