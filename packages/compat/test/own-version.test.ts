import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import {
  acceptVirtio,
  decodeVirtio,
  findVirtio,
  type MigrationStream,
  parseStream,
  titleOf,
} from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { convertStream, parseTarget, stateFor } from '../src/index.ts';

const registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };
const corpus = new URL('../../lab/streams/', import.meta.url);
/** No QEMU reads these as it writes them: requests and buffers in flight of a device that offers packed rings. */
const UNREADABLE = /packed\w*-inflight|throttled-packed/;
const TARGETS = ['qemu-7.2', 'qemu-10.0', 'qemu-11.1'];

for (const version of readdirSync(corpus)) {
  const names = readdirSync(new URL(`${version}/`, corpus)).filter((name) => name.endsWith('.mig.gz'));
  describe(`streams of QEMU ${version}`, () => {
    test('for their own version, every device is written as it was', () => {
      let devices = 0;
      for (const name of names.filter((each) => !UNREADABLE.test(each))) {
        const stream = read(version, name);
        for (const section of stream.sections) {
          const device = findVirtio(section, registry);
          if (device?.known !== true) continue;
          const { state } = decodeVirtio(device);
          const machine = stream.configuration?.name ?? '';
          const write = stateFor(device.name, { target: `qemu-${version}`, machine, title: titleOf(device) });
          expect(
            Buffer.compare(device.codec.encode(write(state)), section.body),
            `${name}, ${titleOf(device)}`,
          ).toBe(0);
          devices++;
        }
      }
      expect(devices).toBeGreaterThan(names.length);
    });

    test.each(TARGETS)('for %s: nothing is left to be converted after a conversion', (text) => {
      const target = parseTarget(text);
      let converted = 0;
      for (const name of names) {
        const stream = read(version, name);
        const { changes, verdicts } = convertStream(stream, target, registry);
        expect(changes === undefined, name).toBe(
          verdicts.some(({ severity, convertible }) => severity === 'refused' && convertible !== true),
        );
        if (changes === undefined) continue;
        converted++;
        const sections = stream.sections.map((section) => {
          const body = changes.body?.(section.header, section.body) ?? section.body;
          return { ...section, body };
        });
        const again = convertStream({ ...stream, sections, commands: [] }, target, registry);
        expect(
          again.verdicts.filter(({ severity }) => severity === 'refused'),
          name,
        ).toEqual([]);
      }
      expect(converted).toBeGreaterThan(0);
    });
  });
}

/** Each is read once. */
const streams = new Map<string, MigrationStream>();

function read(version: string, name: string): MigrationStream {
  const known = streams.get(name);
  if (known !== undefined) return known;
  const bytes = gunzipSync(readFileSync(new URL(`${version}/${name}`, corpus)));
  const stream = parseStream(bytes, { accepts: acceptVirtio(registry) });
  streams.set(name, stream);
  return stream;
}
