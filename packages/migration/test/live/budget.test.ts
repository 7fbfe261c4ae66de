import { costOf } from '@virtkit/lab/growth.ts';
import { expect, test } from 'vitest';
import {
  type ByteDuplex,
  comparedRam,
  type LiveMachine,
  type LiveSection,
  receiveLive,
} from '../../src/live.ts';
import { footer, full, header, join, preamble, ram, vmdesc } from '../made.ts';

// What a stream may cost its destination: time that grows with its bytes, and not faster.

/** Sixteen times the bytes may cost so many times as much. What is quadratic costs 256 times as much. */
const SIXTEENFOLD_MAX = 90;
const RAM = 0x1000;

const any: LiveSection = {
  idstr: 'x',
  versionId: 1,
  save: () => new Uint8Array(4),
  load: () => () => {},
  accepts: () => true,
};
const counted: LiveSection = { ...any, accepts: ({ length }) => length === 4, lengths: () => [4] };

function machine(section: LiveSection): LiveMachine {
  const bytes = new Uint8Array(RAM);
  return {
    name: 'pc-q35-7.2',
    ram: comparedRam([{ name: 'pc.ram', length: RAM, bytes: () => bytes }]),
    sections: [section],
    pause: () => {},
    resume: () => {},
  };
}

/** What the bytes cost, in chunks, behind which the connection ends. */
function cost(stream: Uint8Array, section: LiveSection, chunk: number): Promise<number> {
  return costOf(async () => {
    let at = 0;
    const source: ByteDuplex = {
      read: async () => {
        const bytes = stream.slice(at, at + chunk);
        at += chunk;
        return bytes.length === 0 ? undefined : bytes;
      },
      write: async () => {},
      close: () => {},
    };
    await receiveLive(source, machine(section));
  });
}

const devices = (n: number): Uint8Array =>
  join(
    full(3, 'x', new Uint8Array(4)),
    vmdesc(`{"devices": [${Array(n).fill('{"fields": []}').join(',')}]}`),
  );
const filled = (piece: Uint8Array) => (n: number) =>
  join(header(3, 'x'), ...Array<Uint8Array>(n).fill(piece), footer(3), vmdesc('{"devices": []}'));

const streams: readonly [string, (n: number) => Uint8Array][] = [
  ['a vmdesc of empty devices', devices],
  ['a section of footers', filled(footer(3))],
  ['a section of ends', filled(join(footer(3), vmdesc('{"devices": []}')))],
  ['a section of questions', filled(join(footer(3), Uint8Array.of(8, 0, 2, 0, 4, 0x76, 0x69, 0x72, 0x74)))],
  ['commands', filled(Uint8Array.of(8, 0, 1, 0, 0))],
];

test.each(
  streams.flatMap(([name, of]) =>
    [any, counted].map((section) => [name, section === any ? 'any' : 'counted', of, section] as const),
  ),
)('%s, in a section of %s length', { timeout: 120_000 }, async (_name, _kind, of, section) => {
  const [small, large] = [2000, 32_000].map((n) => join(preamble(), ram(RAM), of(n)));
  if (small === undefined || large === undefined) throw new Error('no streams');
  const ratio = (await cost(large, section, 65_536)) / (await cost(small, section, 4096));
  expect(ratio).toBeLessThan(SIXTEENFOLD_MAX);
});
