/** FHIR references (R4 §2.3.0): what one points at, and the rewriting of `urn:uuid:` ones inside a bundle. */

/** Where a reference leads. */
export type ReferenceTarget =
  | { readonly kind: 'resource'; readonly type: string; readonly id: string }
  | { readonly kind: 'identifier'; readonly type: string; readonly system: string; readonly value: string }
  | { readonly kind: 'unresolvable'; readonly reason: string };

const LITERAL = /(?:^|\/)([A-Z][A-Za-z]{1,63})\/([A-Za-z0-9\-.]{1,64})(?:\/_history\/[A-Za-z0-9\-.]{1,64})?$/;
const CONDITIONAL = /^([A-Z][A-Za-z]{1,63})\?identifier=([^&]{1,512})$/;

const unresolvable = (reason: string): ReferenceTarget => ({ kind: 'unresolvable', reason });

const parseConditional = (type: string, token: string): ReferenceTarget => {
  const bar = token.indexOf('|');
  if (bar < 0) return { kind: 'identifier', type, system: '', value: token };
  return { kind: 'identifier', type, system: token.slice(0, bar), value: token.slice(bar + 1) };
};

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
};

/** `Type/id`, an absolute URL that ends so, a version of it, or `Type?identifier=system|value`. Never throws. */
export const parseReference = (text: string): ReferenceTarget => {
  if (text.startsWith('urn:')) return unresolvable('a urn reference that nothing in this file carries');
  if (text.startsWith('#')) return unresolvable('a reference to a contained resource');
  const literal = LITERAL.exec(text);
  if (literal !== null) return { kind: 'resource', type: literal[1]!, id: literal[2]! };
  const conditional = CONDITIONAL.exec(text);
  const token = conditional === null ? undefined : decode(conditional[2]!);
  if (conditional !== null && token !== undefined) return parseConditional(conditional[1]!, token);
  return unresolvable('a reference in a form this import does not know');
};

/** `Type/id` of a bundle entry by its `fullUrl`. */
export type UrlMap = ReadonlyMap<string, string>;

/**
 * A copy of `value` in which every `reference` that names an entry's `fullUrl` names `Type/id` instead.
 * Recursive: the caller has bounded the nesting (`depthMax`).
 */
export const rewriteReferences = (value: unknown, urls: UrlMap): unknown => {
  if (Array.isArray(value)) return value.map((item) => rewriteReferences(item, urls));
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const target = name === 'reference' && typeof field === 'string' ? urls.get(field) : undefined;
    // defineProperty: a field called __proto__ must stay a field.
    Object.defineProperty(copy, name, {
      value: target ?? rewriteReferences(field, urls),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return copy;
};
