/** Which paths exist, so that a wrong method is told apart from a wrong path. */
import type { ZodFastify } from './app.ts';
import { QflError } from '../errors.ts';
import { faultOf, type HttpFault } from './problem.ts';

const METHOD_NOT_ALLOWED = 405;

const patternOf = (url: string): RegExp => {
  const escaped = url.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll(/:[^/]+/g, '[^/]+').replaceAll('*', '.*')}$`);
};

export interface RouteTable {
  /** The fault for a request that no route took; `allow` lists the methods when the path exists. */
  missing(url: string): { readonly fault: HttpFault; readonly allow?: string };
}

export const createRouteTable = (app: ZodFastify): RouteTable => {
  const routes = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { pattern: patternOf(url), methods: new Set() };
    for (const name of [method].flat()) route.methods.add(name);
    routes.set(url, route);
  });
  return {
    missing(url) {
      const path = url.split('?')[0] ?? url;
      const found = [...routes.values()].filter(({ pattern }) => pattern.test(path));
      const allow = [...new Set(found.flatMap(({ methods }) => [...methods]))].toSorted().join(', ');
      if (allow === '') {
        return { fault: faultOf(new QflError('not_found', { detail: 'No such path.', next: 'See /docs.' })) };
      }
      const error = new QflError('invalid_request', { detail: `This path takes ${allow}.` });
      const title = 'The method is not allowed here';
      return { fault: faultOf(error, { status: METHOD_NOT_ALLOWED, title }), allow };
    },
  };
};
