// The list of pages, in the order in which they are read.
import { existsSync } from 'node:fs';
import { hasInspector } from './inspector.ts';
import { made } from './places.ts';

/** An entry of Starlight's sidebar. */
interface Entry {
  readonly label: string;
  readonly link?: string;
  readonly collapsed?: boolean;
  readonly items?: readonly (string | Entry)[];
  readonly autogenerate?: { readonly directory: string; readonly collapsed?: boolean };
}

const GROUPS: readonly { readonly label: string; readonly pages: readonly string[] }[] = [
  {
    label: 'Start',
    pages: [
      'start/operators',
      'start/first-disk',
      'start/v86',
      'start/machine',
      'start/stream',
      'start/save-and-load',
    ],
  },
  {
    label: 'Guides',
    pages: [
      'guides/device',
      'guides/transport',
      'guides/which-transport',
      'guides/memory',
      'guides/life-cycle',
      'guides/persistence',
      'guides/networks',
      'guides/moving',
      'guides/testing',
      'guides/check-in-ci',
      'guides/benchmarks',
    ],
  },
];

const REFERENCE: readonly string[] = [
  'packages',
  'compatibility',
  'errors',
  'schemas',
  'differences',
  'specification',
  'security',
  'versions',
  'glossary',
];

/** The pages that were made, and the inspector if it is part of the site. */
export function sidebar(): Entry[] {
  const groups = GROUPS.map(({ label, pages }) => ({ label, items: [...pages] }));
  const inspector = hasInspector() ? [{ label: 'Inspector', link: '/inspector/' }] : [];
  // the API is made last, and by the build alone
  const api = existsSync(`${made}docs/reference/api`)
    ? [{ label: 'API', collapsed: true, autogenerate: { directory: 'reference/api', collapsed: true } }]
    : [];
  const reference = {
    label: 'Reference',
    items: [
      'reference/cli',
      { label: 'Commands', collapsed: true, autogenerate: { directory: 'reference/cli' } },
      ...REFERENCE.map((page) => `reference/${page}`),
      ...api,
    ],
  };
  return [...groups, ...inspector, reference];
}
