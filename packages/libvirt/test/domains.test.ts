// What the description makes of a domain's XML, against what a real libvirt starts for it.
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Destination, parseTarget } from '@virtkit/compat';
import { Libvirtd, whyNoLibvirt } from '@virtkit/lab';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeDomain } from '../src/index.ts';
import { randomDomain } from './random-domain.ts';

/** All of them take some minutes. */
const COUNT = Number(process.env['VIRTKIT_DOMAINS'] ?? 6);
const why = whyNoLibvirt();
if (why !== undefined) console.warn(`SKIPPED: domains against a real libvirt: ${why}`);

let libvirt: Libvirtd | undefined;
beforeAll(async () => {
  if (why !== undefined) return;
  libvirt = await Libvirtd.start({ programs: ['qemu-system-x86_64', 'qemu-system-s390x'] });
  for (let index = 0; index < 4; index++) {
    const image = join(libvirt.directory, `${index}.raw`);
    writeFileSync(image, '');
    truncateSync(image, 1 << 20);
  }
}, 120_000);
afterAll(() => libvirt?.close());

/** Names of what stands behind a device, and the order of booting, which libvirt also takes from `<os>`: neither decides anything. */
const LINKS = new Set(['drive', 'netdev', 'chardev', 'rng', 'iothread', 'audiodev', 'display', 'bootindex']);
/** Of devices that are not virtio, these decide. */
const PLACE = new Set([
  'id',
  'bus',
  'addr',
  'multifunction',
  'port',
  'chassis',
  'hotplug',
  'rombar',
  'romfile',
  'nr',
]);

/** A destination as it can be compared. */
function comparable({ devices, machine, memory, cpus }: Destination): unknown {
  const shown = devices
    .filter(({ driver }) => !/^(isa-|ide-|scsi-|usb-|hda-|pvpanic|ccid)/.test(driver))
    .map(({ driver, properties, network, readOnly, place, within }) => {
      const isVirtio = /^virt|^vhost/.test(driver);
      const own = [...properties].filter(([key]) => !LINKS.has(key) && (isVirtio || PLACE.has(key)));
      return {
        driver,
        place: place ?? within,
        properties: Object.fromEntries(
          own.map(([key, value]) => [
            key,
            Number.isNaN(Number(value)) || value === '' ? value : Number(value),
          ]),
        ),
        ...(isVirtio && { readOnly, network: network?.kind, queues: network?.queues }),
      };
    });
  return {
    machine,
    cpus,
    bytes: memory?.bytes,
    devices: shown.sort((a, b) =>
      `${a.driver}${a.place}${a.properties['id']}`.localeCompare(
        `${b.driver}${b.place}${b.properties['id']}`,
      ),
    ),
  };
}

test.skipIf(why !== undefined)(
  `${COUNT} random domains are started by libvirt with the devices, properties and places that are told from their XML`,
  async () => {
    if (libvirt === undefined) throw new Error('no libvirt');
    const daemon = libvirt;
    let [number, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(randomDomain('NAME', `${daemon.directory}/`), async (written) => {
        const name = `d${number++}`;
        const file = join(daemon.directory, `${name}.xml`);
        writeFileSync(file, written.replace('NAME', name));
        const { status, stderr } = await daemon.virsh('create', '--paused', file);
        if (status !== 0) {
          // a combination that libvirt or QEMU does not take is no domain
          refused++;
          if (process.env['VIRTKIT_SHOW'] !== undefined) console.warn(stderr.trim());
          return;
        }
        try {
          const { command, unknown, unplaced, machine } = describeDomain(await daemon.ask('dumpxml', name));
          expect({ unknown, unplaced }).toEqual({ unknown: [], unplaced: [] });
          const made = (commandLine: string | readonly string[]): unknown => {
            const { destination } = parseTarget('qemu-7.2', { commandLine });
            return destination === undefined ? undefined : comparable(destination);
          };
          expect(machine).toMatch(/-\d+\.\d+$/);
          expect(made(command)).toEqual(made(daemon.log(name)));
        } finally {
          await daemon.ask('destroy', name);
        }
      }),
      { numRuns: COUNT, endOnFailure: process.env['CI'] === undefined },
    );
    if (process.env['VIRTKIT_SHOW'] !== undefined) console.warn(`${number} domains, ${refused} refused`);
    // most of what is asked for is started
    expect(refused).toBeLessThan(number / 2);
  },
  3_600_000,
);
