// The built site, looked through: every link leads somewhere, nothing comes from elsewhere, and no page is heavy.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** Bytes of a page before anybody searches, as a server packs them: the page, its styles and its scripts. */
const PAGE_MAX = 60_000;
/** Largest number of bytes of a page of the API, which is as long as its entry has exports. */
const API_PAGE_MAX = 90_000;
/** Largest number of bytes of the inspector's page, which is a program. */
const INSPECTOR_MAX = 100_000;

/** Lists what is wrong with the pages in `folder`, which stand under `base` on their host: a line for each. */
export async function complaints(folder: string, base: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true });
  const html = found.filter((path) => path.endsWith('.html')).sort();
  const site = new Site(folder, base);
  return html.flatMap((path) => site.look(path));
}

class Site {
  readonly #folder: string;
  readonly #base: string;
  readonly #ids = new Map<string, ReadonlySet<string>>();
  readonly #packed = new Map<string, number>();

  constructor(folder: string, base: string) {
    this.#folder = folder;
    this.#base = base;
  }

  look(path: string): string[] {
    const text = this.#text(path);
    const wrong: string[] = [];
    let bytes = this.#size(path);
    const loaded = new Set<string>();
    for (const { attribute, tag, to } of references(text)) {
      const loads = attribute === 'src' || (tag === 'link' && /\.(css|js|svg)$/.test(to));
      if (/^(data|mailto):/.test(to)) continue;
      if (/^https?:/.test(to)) {
        if (loads) wrong.push(`${path}: loads ${to} from elsewhere`);
        continue;
      }
      const file = this.#file(path, to);
      if (file === undefined) wrong.push(`${path}: ${to} is not there`);
      else if (loads && !loaded.has(file)) {
        loaded.add(file);
        bytes += this.#size(file);
      }
    }
    const most = mostOf(path);
    if (bytes > most) wrong.push(`${path}: ${bytes} bytes with what it loads, of ${most}`);
    return wrong;
  }

  /** The file that a link in a page leads to; undefined if there is none, or no such place in it. */
  #file(path: string, link: string): string | undefined {
    const from = new URL(`http://site${this.#base}${path.replace(/index\.html$/, '')}`);
    const { pathname, hash } = new URL(link, from);
    if (!pathname.startsWith(this.#base)) return undefined;
    const rest = decodeURIComponent(pathname.slice(this.#base.length));
    const file = rest === '' || rest.endsWith('/') ? `${rest}index.html` : rest;
    const at = join(this.#folder, file);
    if (!existsSync(at) || !statSync(at).isFile()) return undefined;
    if (hash === '' || !file.endsWith('.html')) return file;
    return this.#idsOf(file).has(decodeURIComponent(hash.slice(1))) ? file : undefined;
  }

  #idsOf(file: string): ReadonlySet<string> {
    const known = this.#ids.get(file);
    if (known !== undefined) return known;
    const ids = new Set([...this.#text(file).matchAll(/\sid="?([^\s">]+)/g)].map(([, id = '']) => id));
    this.#ids.set(file, ids);
    return ids;
  }

  #size(file: string): number {
    const known = this.#packed.get(file) ?? gzipSync(readFileSync(join(this.#folder, file))).length;
    this.#packed.set(file, known);
    return known;
  }

  #text(path: string): string {
    return readFileSync(join(this.#folder, path), 'utf8');
  }
}

function mostOf(path: string): number {
  if (path.startsWith('reference/api/')) return API_PAGE_MAX;
  return path.startsWith('inspector/') ? INSPECTOR_MAX : PAGE_MAX;
}

function* references(
  text: string,
): Generator<{ readonly tag: string; readonly attribute: string; readonly to: string }> {
  for (const [, tag = '', attributes = ''] of text.matchAll(/<(a|link|script|img|source|iframe)\s([^>]*)>/g))
    for (const [, attribute = '', to = ''] of attributes.matchAll(/\b(href|src)="([^"]*)"/g))
      yield { tag, attribute, to: to.replaceAll('&amp;', '&').replaceAll(/&#(38|x26);/g, '&') };
}
