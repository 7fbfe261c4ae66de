/** SECURITY.md names each bound with its value, its place and its test: the page is read here, and held to the sources. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const textOf = (path: string): string => readFileSync(root + path, 'utf8');
const page = textOf('SECURITY.md');

interface Row {
  readonly name: string;
  readonly value: number;
  readonly path: string;
  readonly option: string | undefined;
  readonly test: string | undefined;
  /** Words that stand in the test's title. */
  readonly words: string | undefined;
}

const UNITS: Readonly<Record<string, number>> = {
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  ms: 1,
  s: 1000,
};

/** `32 MiB`, `65536`, `30 s` */
function numberOf(text: string): number {
  const [, digits, unit] = /^(\d+)(?: (\w+))?$/.exec(text) ?? [];
  const factor = unit === undefined ? 1 : UNITS[unit];
  if (digits === undefined || factor === undefined) throw new Error(`"${text}" is no value`);
  return Number(digits) * factor;
}

const unquoted = (cell: string): string | undefined => /^`(.+)`$/.exec(cell)?.[1];

/** The rows of a table whose first two columns are a constant and its value. */
function rows(): Row[] {
  const found: Row[] = [];
  for (const line of page.split('\n')) {
    const cells = line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, ''));
    if (cells.length !== 6 || cells[0] === 'constant' || cells[0]?.startsWith('---') === true) continue;
    const [name = '', value = '', path = '', option = '', , proof = ''] = cells;
    const [, file, words] = /^`([^`]+)` "(.+)"$/.exec(proof) ?? [];
    if (file === undefined && proof !== '-') throw new Error(`"${proof}" is no test`);
    found.push({
      name: unquoted(name) ?? '',
      value: numberOf(value),
      path: unquoted(path) ?? '',
      option: unquoted(option),
      test: file,
      words,
    });
  }
  return found;
}

/** Value of a constant, of a default, or of a property, as the file has it; undefined if there is none of that name. */
function valueIn(source: string, name: string): number | undefined {
  for (const [, found = ''] of source.matchAll(
    new RegExp(`(?<!#)\\b${name}(?:: number)?(?: =|:) ([^;,}\\n]+)`, 'g'),
  )) {
    const [, factor = '1', other] = /^(?:(\d+) \* )?([A-Za-z]+)$/.exec(found.trim()) ?? [];
    const inner = other === undefined || other === name ? undefined : valueIn(source, other);
    const value = inner === undefined ? calculated(found.replaceAll('_', '').trim()) : inner * Number(factor);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** `1 << 20`, `2 ** 32`, `4096 + 65536`, `32 * 2 ** 20` */
function calculated(text: string): number | undefined {
  const sum = text.split(' + ').map((term) => {
    const [base, shift, ...more] = term.split(' << ');
    if (base === undefined || more.length > 0) return Number.NaN;
    const product = base.split(' * ').reduce((all, factor) => {
      const [mantissa, power] = factor.split(' ** ');
      return all * (power === undefined ? Number(mantissa) : Number(mantissa) ** Number(power));
    }, 1);
    return product * 2 ** Number(shift ?? 0);
  });
  const total = sum.reduce((all, term) => all + term, 0);
  return Number.isNaN(total) ? undefined : total;
}

const all = rows();

test('the page has its tables', () => {
  expect(all.length).toBeGreaterThan(80);
});

test.each(all)('$name in $path', ({ name, value, path, option, test: file, words }) => {
  expect(valueIn(textOf(path), name), 'the value').toBe(value);
  if (option !== undefined) {
    const is = new RegExp(`\\b${option}\\b`);
    const sources = filesUnder(path.replace(/\/src\/.*/, '/src'));
    expect(
      sources.some((source) => is.test(textOf(source))),
      `the option ${option}`,
    ).toBe(true);
  }
  if (file === undefined || words === undefined) return;
  expect(
    titlesIn(textOf(file)).some((title) => title.includes(words)),
    `${file} has a test "${words}"`,
  ).toBe(true);
});

/** Titles of tests, and names of the cases of which they are made: all texts of a file but those of comments, with their quotes. */
function titlesIn(source: string): string[] {
  return source
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\/?\*)/.test(line))
    .flatMap((line) => line.match(/'(?:[^'\\]|\\.)+'|"(?:[^"\\]|\\.)+"|`[^`]+`/g) ?? []);
}

function filesUnder(path: string): string[] {
  return readdirSync(root + path, { withFileTypes: true }).flatMap((entry) => {
    const inner = `${path}/${entry.name}`;
    return entry.isDirectory() ? filesUnder(inner) : /\.tsx?$/.test(entry.name) ? [inner] : [];
  });
}

/** Ranges of a format, a standard or an option: they bound nothing that grows. */
const RANGES: ReadonlySet<string> = new Set([
  'device-net/src/live/receive.ts DHCP_FRAME_LIMIT',
  'transport-pci/src/layer.ts VERSION_MAX',
  'transport-pci/src/config-space.ts CAPABILITIES_MAX',
  'v86/src/target.ts CAPABILITIES_MAX',
  'transport-mmio/src/limits.ts PAGE_SHIFT_MAX',
  'device-blk/src/live/geometry.ts HEADS_MAX',
  'transport-pci/src/pci-ids.ts DEVICE_ID_MAX',
  'device-blk/src/disk/overlay.ts CLUSTER_MAX',
  'device-blk/src/live/geometry.ts CYLINDERS_MAX',
  'device-blk/src/live/parse.ts REQUEST_BYTES_MAX',
  'device-blk/src/live/wire.ts REQUEST_SECTORS_MAX',
  'core/src/live/mapping.ts REGION_MAX',
  'core/src/state/element.ts ELEMENT_SEGMENTS_MAX',
  'device-net/src/identity.ts PAIRS_MAX',
  'device-blk/src/qemu/options.ts AUTO_QUEUES_MAX',
  'device-net/src/identity.ts RSS_TABLE_MAX',
  'device-net/src/live/card.ts ETHERNET_MAX',
  'device-net/src/live/control.ts PAIRS_MAX',
  'device-net/src/live/flow.ts EXTENSIONS_MAX',
  'device-net/src/live/header.ts HDR_BYTES_MAX',
  'device-net/src/live/options.ts PAIRS_MAX',
  'device-net/src/live/options.ts QUEUE_SIZE_MAX',
  'device-net/src/live/receive.ts CHAINS_MAX',
  'device-net/src/live/rss.ts RSS_TABLE_MAX',
  'device-net/src/live/toeplitz.ts INPUT_MAX',
  'device-net/src/node/datagram.ts DATAGRAM_MAX',
  'device-net/src/node/server.ts CONNECTIONS_MAX',
  'device-net/src/offload/layout.ts HEAD_MAX',
  'device-net/src/switch/switch.ts ENTRIES_MAX',
  'device-net/src/websocket/backend.ts REASON_MAX',
  'device-rng/src/live/options.ts TIMER_MAX',
  'migration/src/live/section-ids.ts GUESSED_MAX',
  'migration/src/live/section-ids.ts ID_MAX',
  'migration/src/parser.ts HEADER_MAX',
  'migration/src/ram-image.ts ARRAY_MAX',
  'transport-ccw/src/channel/bits.ts ISC_MAX',
  'transport-ccw/src/channel/devices.ts CSSID_MAX',
  'transport-ccw/src/channel/devices.ts SCHID_MAX',
  'transport-ccw/src/channel/devices.ts SSID_MAX',
  'transport-ccw/src/identity.ts ISC_MAX',
  'transport-ccw/src/virtio/indicators.ts LENGTH_MAX',
  'transport-mmio/src/live/device.ts QUEUE_NUM_MAX',
  'transport-pci/src/live/options.ts CLASS_CODE_MAX',
]);

const PUBLISHED =
  'cli compat core device-blk device-console device-net device-rng device-states inspector libvirt linux migration transport-ccw transport-mmio transport-pci v86 vfio-user vhost-user visit vmstate';

test('each bound of the sources is on the page, or is the range of a format', () => {
  const named = new Set(all.map(({ path, name }) => `${path.replace('packages/', '')} ${name}`));
  const missing = PUBLISHED.split(' ')
    .flatMap((name) => filesUnder(`packages/${name}/src`))
    .flatMap((path) =>
      [...textOf(path).matchAll(/^(?:export )?const (\w*(?:MAX|LIMIT|UNDER_WAY|IN_FLIGHT)) = /gm)].map(
        ([, name]) => `${path.replace('packages/', '')} ${name}`,
      ),
    )
    .filter((bound) => !named.has(bound) && !RANGES.has(bound));
  expect(missing).toEqual([]);
});

test('what is a range is still there', () => {
  const gone = [...RANGES].filter((range) => {
    const [path = '', name = ''] = range.split(' ');
    return !new RegExp(`const ${name} = `).test(textOf(`packages/${path}`));
  });
  expect(gone).toEqual([]);
});
