/** The examples of the API document: one for every route that takes or gives JSON, each as its schema wants it. */
import { describe, expect, test } from 'vitest';
import { EXAMPLES } from '../../coordinator/api/examples.ts';
import { COORDINATOR_ROUTES } from '../../shared/client/coordinator-routes.ts';
import type { Route } from '../../shared/client/route.ts';

const routes = Object.values<Readonly<Record<string, Route>>>(COORDINATOR_ROUTES).flatMap((verbs) =>
  Object.values(verbs),
);
const nameOf = ({ method, path }: Route): string => `${method} ${path}`;

describe('the examples', () => {
  test.each(routes.map((route) => [nameOf(route), route] as const))(
    'of %s are there, and fit',
    (name, route) => {
      const example = EXAMPLES[name];
      if (route.body !== undefined)
        expect(route.body.safeParse(example?.body), 'body').toMatchObject({ success: true });
      if (typeof route.answer === 'string') return;
      expect(route.answer.safeParse(example?.response), 'answer').toMatchObject({ success: true });
    },
  );

  test('are of routes that exist', () => {
    const names = routes.map(nameOf);
    expect(Object.keys(EXAMPLES).filter((name) => !names.includes(name))).toEqual([]);
  });
});
