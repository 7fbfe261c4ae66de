import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RxFilter } from '../src/live/filter.ts';
import { fromHex, MAC_BYTES } from './machine.ts';

const OWN = '525400123456';
const OTHER = '525400123457';
const TABLED = '525400aaaaaa';
const GROUP = '01005e000001';
const GROUP2 = '01005e000002';
const ALL = 'ffffffffffff';

interface Modes {
  readonly promisc?: number;
  readonly allmulti?: number;
  readonly alluni?: number;
  readonly nomulti?: number;
  readonly nouni?: number;
  readonly nobcast?: number;
  readonly uniOverflow?: number;
  readonly multiOverflow?: number;
}

function filterWith(modes: Modes): RxFilter {
  const filter = new RxFilter();
  filter.reset(MAC_BYTES);
  filter.promisc = 0;
  Object.assign(filter, modes);
  filter.table.set(fromHex(TABLED + GROUP));
  filter.inUse = 2;
  filter.firstMulti = 1;
  filter.setVlan(5, true);
  return filter;
}

const to = (address: string, type = '0800'): Uint8Array =>
  fromHex(`${address}525400000001${type}${'00'.repeat(46)}`);

// own, other, in the table, group in the table, other group, broadcast
const ROWS: readonly (readonly [Modes, string])[] = [
  [{}, 'o-ug-b'],
  [{ promisc: 1 }, 'oaugmb'],
  [{ promisc: 0x80 }, 'oaugmb'],
  [{ promisc: 1, nouni: 1, nomulti: 1, nobcast: 1 }, 'oaugmb'],
  [{ allmulti: 1 }, 'o-ugmb'],
  [{ multiOverflow: 1 }, 'o-ugmb'],
  [{ nomulti: 1 }, 'o-u--b'],
  [{ nomulti: 1, allmulti: 1 }, 'o-u--b'],
  [{ alluni: 2 }, 'oaug-b'],
  [{ uniOverflow: 1 }, 'oaug-b'],
  [{ nouni: 1 }, '---g-b'],
  [{ nouni: 1, alluni: 1 }, '---g-b'],
  [{ nobcast: 1 }, 'o-ug--'],
  [{ nobcast: 1, allmulti: 1 }, 'o-ugm-'],
];

describe('addresses', () => {
  test.each(ROWS)('%j: %s', (modes, expected) => {
    const filter = filterWith(modes);
    const answers = [OWN, OTHER, TABLED, GROUP, GROUP2, ALL].map((address, i) =>
      filter.accepts(to(address)) ? 'oaugmb'[i] : '-',
    );
    expect(answers.join('')).toBe(expected);
  });

  test('a group address among the unicast ones of the table is not looked for, and the other way round', () => {
    const filter = filterWith({});
    filter.table.set(fromHex(GROUP + TABLED));
    expect(filter.accepts(to(GROUP))).toBe(false);
    expect(filter.accepts(to(TABLED))).toBe(false);
  });
});

describe('VLANs', () => {
  test.each<[string, string, boolean]>([
    ['untagged', '0800', true],
    ['tag of an added one', '81000005', true],
    ['priority bits do not count', '8100e005', true],
    ['another', '81000006', false],
    ['none', '81000000', false],
    ['the last', '81000fff', false],
    ['service tag', '88a80006', true],
  ])('%s', (_name, type, expected) => {
    expect(filterWith({}).accepts(to(OWN, type))).toBe(expected);
    expect(filterWith({ promisc: 1 }).accepts(to(OWN, type))).toBe(true);
  });

  test('each id has a bit of its own', () => {
    const filter = filterWith({});
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 4095 }), { maxLength: 50 }), (ids) => {
        filter.vlans.fill(0);
        for (const id of ids) filter.setVlan(id, true);
        for (const id of ids) expect(filter.hasVlan(id)).toBe(true);
        expect(
          [...filter.vlans].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0),
        ).toBe(ids.length);
        for (const id of ids) filter.setVlan(id, false);
        expect(filter.vlans.every((byte) => byte === 0)).toBe(true);
      }),
    );
  });
});

test('runts: what is missing is 0', () => {
  const filter = filterWith({});
  filter.mac.fill(0);
  for (let length = 0; length < 6; length++) expect(filter.accepts(new Uint8Array(length))).toBe(true);
  expect(filter.accepts(fromHex(ALL).subarray(0, 5))).toBe(false);
});

test('a tag is that of 802.1Q, and its VLAN has twelve bits', () => {
  const filter = new RxFilter();
  filter.reset(MAC_BYTES);
  filter.promisc = 0;
  filter.setVlan(0x305, true);
  const accepts = (behind: string): boolean => filter.accepts(fromHex(`${ALL}${OTHER}${behind}0800`));
  expect(['81000305', '8100f305', '81000005', '81000304', '81010005', '82000005'].map(accepts)).toEqual([
    true,
    true,
    false,
    false,
    true,
    true,
  ]);
});
