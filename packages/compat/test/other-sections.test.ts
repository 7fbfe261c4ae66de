// Sections and blocks of RAM of devices that are not virtio: a real QEMU and check decide the same.
import { findQemu } from '@virtkit/lab';
import { acceptVirtio, type MigrationStream, parseStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import { innerBuses } from '../src/destination/inner-buses.ts';
import { answerOf, checkStream, parseTarget } from '../src/index.ts';
import { commandLineOf, readStream, registry } from './corpus.ts';
import { loadInto, streamOf } from './qemu-lines.ts';

const DISK = '-drive file.driver=null-co,file.size=1G,format=raw,if=none,id=';
const SOURCE = [
  'qemu-system-x86_64 -M q35,vmport=off -accel tcg -m 32,slots=2,maxmem=1G -nodefaults -no-user-config',
  '-device virtio-scsi-pci,id=s',
  `${DISK}a -device scsi-hd,drive=a ${DISK}b -device scsi-cd,drive=b`,
  '-device qemu-xhci,id=x,p2=8,p3=8 -device usb-tablet,bus=x.0 -device VGA,vgamem_mb=32',
].join(' ');

/** What is replaced by what in the source's line, and whether QEMU loads. */
const CASES: readonly (readonly [what: string, from: string, to: string, ok: boolean])[] = [
  ['as it was', '', '', true],
  ['a disk at another unit', 'scsi-cd,drive=b', 'scsi-cd,drive=b,lun=4', false],
  ['a disk at the address that it has by itself', 'scsi-cd,drive=b', 'scsi-cd,drive=b,scsi-id=1', true],
  ['no tablet', '-device usb-tablet,bus=x.0', '', false],
  ['a tablet at another port', 'usb-tablet,bus=x.0', 'usb-tablet,bus=x.0,port=3', false],
  ['a mouse has the section of a tablet', 'usb-tablet', 'usb-mouse', true],
  ['other ports', 'p2=8,p3=8', 'p2=4,p3=4', false],
  ['another controller', 'qemu-xhci', 'nec-usb-xhci', false],
  ['other memory of the display', 'vgamem_mb=32', 'vgamem_mb=16', false],
  ['other slots for memory', 'slots=2', 'slots=3', false],
  ['no SATA', 'vmport=off', 'vmport=off,sata=off', false],
  ['a mouse of VMware is no loss', 'vmport=off', 'vmport=on', true],
];

const binary = findQemu('x86_64');
if (binary === undefined)
  console.warn('SKIPPED: sections of devices that are not virtio, for there is no QEMU');

describe.skipIf(binary === undefined)('devices that are not virtio', () => {
  let stream: Promise<Buffer> | undefined;
  test.each(CASES)('%s', { timeout: 90_000 }, async (_, from, to, ok) => {
    if (binary === undefined) return;
    stream ??= streamOf(binary, SOURCE);
    const bytes = await stream;
    const line = SOURCE.replace(from, to);
    const version = binary.version.split('.').slice(0, 2).join('.');
    const { result, stderr } = await loadInto(binary, line, bytes);
    expect(result, stderr).toBe(ok ? 'loads' : 'refused');
    const target = parseTarget(`qemu-${version}`, { commandLine: line });
    const verdicts = checkStream(parseStream(bytes, { accepts: acceptVirtio(registry) }), target, registry);
    expect(answerOf(verdicts), JSON.stringify(verdicts)).toBe(result);
  });
});

test('what is not known is no yes', () => {
  const line = `${SOURCE} -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off`;
  const { destination } = parseTarget('qemu-7.2', { commandLine: line });
  expect(destination?.board?.globals).toEqual(['ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off']);
});

test('a USB controller of more ports than any has is given 64', () => {
  const [bus] = innerBuses('qemu-xhci', 'x', new Map([['p2', '4000000000']]), '0000:00:03.0');
  expect(bus?.ports).toHaveLength(64);
});

test('slots for memory are looked for in a description 8 deep', () => {
  const name = 'q72-pc-idle';
  const stream = readStream(name);
  const line = commandLineOf(name);
  const commandLine = [...line, '-m', '256,slots=3,maxmem=1G'].join(' ');
  const target = parseTarget('qemu-7.2', { commandLine });
  type Description = NonNullable<MigrationStream['sections'][number]['description']>;
  /** The stream, whose chip set says two slots at this depth. */
  const severities = (depth: number): string[] => {
    let inside = {
      vmsd_name: 'memory hotplug state',
      fields: [{ name: 'devs', array_len: 2 }],
    } as Description;
    for (let level = 0; level < depth; level++)
      inside = { ...inside, vmsd_name: 'x', fields: [], subsections: [inside] };
    const sections = stream.sections.map((section) =>
      section.header.idstr.endsWith('/piix4_pm') ? { ...section, description: inside } : section,
    );
    return checkStream({ ...stream, sections }, target, registry)
      .filter(({ code }) => code === 'memory-slots')
      .map(({ severity }) => severity);
  };
  expect(severities(8)).toEqual(['refused']);
  expect(severities(9)).toEqual(['depends']);
});
