// A device type is known in its own package and in one list: what reads, checks and converts streams goes over that list.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { deviceTypes } from '../src/index.ts';

/** The one place that names device types, by their packages. */
const LIST = 'compat/src/device-types.ts';

const packages = new URL('../../', import.meta.url);

/** Source files of the packages that must know no device type. */
function sources(): string[] {
  return ['compat', 'visit', 'migration'].flatMap((name) =>
    readdirSync(new URL(`${name}/src/`, packages), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => `${name}/src/${file}`),
  );
}

/** The program without its comments: those may give examples. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}

/** Names of device types, and imports of their packages, in a program. QEMU's longer names of other things do not count. */
function namesIn(text: string): string[] {
  const names = deviceTypes.map(({ layer }) => layer.name.replace('-', '\\-')).join('|');
  const found = new RegExp(`(?<![\\w-])(?:${names})(?!\\w|-(?:host|hid))|@virtkit/device-[\\w-]+`, 'g');
  return withoutComments(text).match(found) ?? [];
}

describe('no device type is known by its name outside its package', () => {
  test.each(sources().filter((file) => file !== LIST))('%s', (file) => {
    expect(namesIn(readFileSync(new URL(file, packages), 'utf8'))).toEqual([]);
  });

  test('the list names packages', () => {
    expect(namesIn(readFileSync(new URL(LIST, packages), 'utf8'))).not.toEqual([]);
  });

  test('what is looked for would be found', () => {
    expect(namesIn(`if (name === 'virtio-blk') return;`)).toEqual(['virtio-blk']);
    expect(namesIn("import { net } from '@virtkit/device-net';")).toEqual(['@virtkit/device-net']);
    expect(namesIn('/** `virtio-blk` */ // virtio-net\n')).toEqual([]);
  });
});
