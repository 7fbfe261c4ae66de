// What people paste is recognised: bytes of a stream in several spellings, machines, errors.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { recognise } from '../src/model/pasted.ts';
import { Session } from '../src/model/session.ts';
import { blobSource } from '../src/model/source.ts';
import type { Overview } from '../src/model/types.ts';
import { blobOf, pathOf } from './corpus.ts';

const STREAM = '7.2.22/q72-pc-idle';
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const base64Of = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** As `hexdump -C` prints bytes. */
function dumpOf(bytes: Uint8Array): string {
  return Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) => {
    const part = bytes.subarray(16 * row, 16 * row + 16);
    const words = [...part].map((byte) => byte.toString(16).padStart(2, '0'));
    const [left, right] = [words.slice(0, 8).join(' '), words.slice(8).join(' ')];
    const text = Buffer.from(part)
      .toString('latin1')
      .replace(/[^\x20-\x7e]/g, '.');
    return `${(16 * row).toString(16).padStart(8, '0')}  ${left}  ${right}  |${text}|`;
  }).join('\n');
}

/** As `xxd -g1` prints bytes. */
function xxdOf(bytes: Uint8Array): string {
  return dumpOf(bytes)
    .split('\n')
    .map((line) => {
      const [, at, words = '', text] = /^(\w+) {2}(.*?) +\|(.*)\|$/.exec(line) ?? [];
      return `${at}: ${words.replace('  ', ' ').padEnd(47)}  ${text}`;
    })
    .join('\n');
}

async function opened(text: string): Promise<Overview> {
  const pasted = await recognise(text);
  if (pasted.kind !== 'bytes') throw new Error(`taken for ${pasted.kind}`);
  return new Session().open(blobSource(new Blob([pasted.bytes]), pasted.name));
}

/** Bytes of a section, which the session hands out in pieces. */
function bodyOf(session: Session, section: number, offset: number, size: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < size; at += pieces.at(-1)?.length ?? size)
    pieces.push(session.bytes(section, offset + at, size - at));
  return Buffer.concat(pieces);
}

describe('bytes', () => {
  test.each([
    ['PCI', STREAM],
    ['channel I/O', '10.0.13/q100-s390-multidev'],
    ['MMIO', '7.2.22/q72-microvm-mmio-modern-io'],
    ['packed rings', '11.1.2/q111-q35-packed-inflight'],
    ['twelve device types', '11.1.2/q111-q35-others-io'],
  ])('each device of a stream with %s is recognised by its section alone', async (_what, name) => {
    const session = new Session();
    const { devices, sections } = await session.open(blobSource(await blobOf(name), name));
    expect(devices.length).toBeGreaterThan(1);
    for (const { section, name: type, queues, statusBits } of devices) {
      const { offset, size } = sections[section] ?? { offset: 0, size: 0 };
      const body = bodyOf(session, section, offset, size);
      const [found] = (await opened(base64Of(body))).devices;
      expect({ ...found, queues: found?.queues, statusBits: found?.statusBits }).toMatchObject({
        name: type,
        queues,
        statusBits,
        known: true,
      });
    }
  });

  test.each([
    ['hexadecimal', hexOf],
    ['hexadecimal in lines', (bytes: Uint8Array) => hexOf(bytes).replace(/.{64}/g, '$&\n')],
    [
      'C',
      (bytes: Uint8Array) => [...bytes].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(', '),
    ],
    ['hexdump -C', dumpOf],
    ['xxd', xxdOf],
    ['base64 in lines', (bytes: Uint8Array) => base64Of(bytes).replace(/.{76}/g, '$&\n')],
    ['base64url', (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')],
  ] as const)('a section with its header, as %s', async (_what, write) => {
    const whole = gunzipSync(readFileSync(pathOf(STREAM)));
    const session = new Session();
    const { sections } = await session.open(blobSource(new Blob([whole]), STREAM));
    const section = sections.find(({ idstr }) => idstr.endsWith('virtio-net'));
    if (section === undefined) throw new Error('no network card');
    const start = section.offset - 5 - 1 - section.idstr.length - 8;
    const bytes = Uint8Array.from(whole.subarray(start, section.offset + section.size));
    const overview = await opened(write(bytes));
    expect(overview).toMatchObject({ complete: true, findings: [] });
    expect(overview.devices).toMatchObject([{ name: 'virtio-net', path: '0000:00:03.0' }]);
  });

  test('a whole stream', async () => {
    const whole = gunzipSync(readFileSync(pathOf('7.2.22/q72-pc-fullram-tiny')));
    const overview = await opened(base64Of(whole.subarray(0, 100_000)));
    expect(overview.machine).toBe('pc-i440fx-7.2');
    const packed = await opened(base64Of(readFileSync(pathOf('7.2.22/q72-pc-fullram-tiny'))));
    expect(packed).toMatchObject({ machine: 'pc-i440fx-7.2', packing: 'gzip', complete: true });
  });

  test('what is nothing is told so', async () => {
    expect((await opened('ab'.repeat(100))).error?.reason).toMatch(/not a migration stream/);
    await expect(recognise(' \n')).rejects.toMatchObject({ code: 'pasted' });
    await expect(recognise('a'.repeat(2 ** 24 + 1))).rejects.toMatchObject({ code: 'pasted' });
  });
});

const DOMAIN = `<domain type='kvm'><name>guest</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='raw' queue_size='128'/><source file='/d'/>
    <target dev='vda' bus='virtio'/><address type='pci' domain='0' bus='0' slot='2' function='0'/></disk></devices></domain>`;
const COMMAND =
  'qemu-system-x86_64 -M pc-i440fx-7.2 -m 128M -nodefaults -device virtio-blk-pci,queue-size=128,addr=2';

describe('words', () => {
  test.each([
    ['domain XML', DOMAIN],
    ['domain XML', `<?xml version="1.0"?>\n${DOMAIN}`],
    ['QEMU command line', COMMAND],
    [
      'QEMU command line',
      `2026-01-01 starting up\nLC_ALL=C \\\n/usr/bin/qemu-system-x86_64 \\\n-name guest=a \\\n-M q35`,
    ],
    ['QEMU command line', '/usr/libexec/qemu-kvm -M q35'],
  ] as const)('%s', async (what, text) => {
    expect(await recognise(text)).toEqual({ kind: 'machine', what });
  });

  test('an error, and a log with both', async () => {
    const error =
      'qemu-system-x86_64: Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef';
    expect(await recognise(error)).toMatchObject({ kind: 'error', diagnoses: [{}] });
    expect(await recognise(`${COMMAND}\n${error}`)).toMatchObject({
      kind: 'error',
      diagnoses: [{}],
      machine: 'QEMU command line',
    });
    expect(await recognise('it does not work')).toEqual({ kind: 'error', diagnoses: [] });
  });
});

describe('a machine that is asked about', () => {
  const refused = {
    answer: 'refused',
    verdicts: expect.arrayContaining([expect.objectContaining({ field: 'queues[0].num' })]),
  };

  test.each([
    ['domain XML', DOMAIN],
    ['a command line', COMMAND],
  ])('%s', async (_what, machine) => {
    const session = new Session();
    await session.open(blobSource(await blobOf(STREAM), STREAM));
    expect(await session.check({ target: 'qemu-11.1', devices: [], machine })).toMatchObject(refused);
    const larger = await session.check({
      target: 'qemu-11.1',
      devices: [],
      machine: machine.replace(/(queue.size=.?)128/, '$1256'),
    });
    expect(JSON.stringify(larger)).not.toContain('queues[0].num');
    expect(await session.check({ target: 'qemu-11.1', devices: [], machine: '<domain' })).toHaveProperty(
      'wrong',
    );
    expect(await session.check({ target: 'qemu-11.1', devices: [], machine: 'hello' })).toHaveProperty(
      'wrong',
    );
  });

  test('the header of a libvirt save file is the machine, where nothing else was said', async () => {
    const xml = Buffer.from(`${DOMAIN}\0`);
    const header = Buffer.alloc(92);
    header.write('LibvirtQemudSave');
    header.writeUInt32LE(2, 16);
    header.writeUInt32LE(xml.length, 20);
    const file = new Blob([header, xml, gunzipSync(readFileSync(pathOf(STREAM)))]);
    const session = new Session();
    const overview = await session.open(blobSource(file, 'guest.save'));
    expect(overview).toMatchObject({ hasDomain: true, complete: true });
    expect(await session.check({ target: 'qemu-11.1', devices: [] })).toMatchObject(refused);
    const machine = COMMAND.replace('queue-size=128', 'queue-size=256');
    const asked = await session.check({ target: 'qemu-11.1', devices: [], machine });
    expect(JSON.stringify(asked)).not.toContain('queues[0].num');
  });
});
