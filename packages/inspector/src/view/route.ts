// Where in a stream somebody is, as the part of an address behind its #.

/** Place in a stream. */
export type Route =
  | { readonly page: 'overview' }
  | { readonly page: 'check' }
  | { readonly page: 'paste' }
  | { readonly page: 'section'; readonly section: number; readonly field?: string };

/** Finds the place that a fragment names: `#/section/12/queues[0].num`. What is none is the overview. */
export function routeOf(fragment: string): Route {
  if (fragment === '#/check') return { page: 'check' };
  if (fragment === '#/paste') return { page: 'paste' };
  const [, number, field] = /^#\/section\/(\d{1,9})(?:\/(.+))?$/.exec(fragment) ?? [];
  if (number === undefined) return { page: 'overview' };
  return {
    page: 'section',
    section: Number(number),
    ...(field !== undefined && { field: decoded(field) }),
  };
}

/** Makes the fragment that names a place. */
export function fragmentOf(route: Route): string {
  if (route.page === 'overview') return '#/';
  if (route.page === 'check' || route.page === 'paste') return `#/${route.page}`;
  const { section, field } = route;
  return `#/section/${section}${field === undefined ? '' : `/${encodeURIComponent(field)}`}`;
}

/** Decodes a part of a fragment, which a person may have typed. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
