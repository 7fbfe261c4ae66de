import { isStateError } from '@virtkit/vmstate';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeDomain } from '../src/index.ts';
import { parseXml, valueAt } from '../src/xml.ts';

const domain = `<domain type='kvm'><name>a &amp; b</name><memory unit='MiB'>128</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><features><acpi/></features><devices>
<controller type='pci' index='0' model='pcie-root'/>
<controller type='pci' index='1' model='pcie-root-port'><target port='0x8' chassis='1'/><address type='pci' bus='0' slot='1'/></controller>
<disk type='file' device='disk'><driver queues='4' event_idx='off'/><source file='a'/><target dev='vda' bus='virtio'/>
<serial><![CDATA[<s>]]></serial><address type='pci' bus='1' slot='0'/></disk>
<interface type='user'><model type='virtio'/><driver queues='x'/></interface></devices></domain>`;

const codeOf = (text: string): string => {
  try {
    describeDomain(text);
    return 'fine';
  } catch (error) {
    if (isStateError(error)) return error.code;
    throw error;
  }
};

describe('XML', () => {
  test('is read with its five entities, CDATA and attributes', () => {
    const root = parseXml(domain);
    expect(valueAt(root, 'name')).toBe('a & b');
    expect(valueAt(root, 'devices/disk/serial')).toBe('<s>');
    expect(valueAt(root, 'os/type@machine')).toBe('pc-q35-7.2');
    expect(valueAt(root, 'os/nothing@there')).toBeUndefined();
  });

  test('with a document type, an entity of its own or a fault in it is refused', () => {
    const bomb =
      '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><domain>&b;</domain>';
    for (const text of [bomb, '<domain>&a;</domain>', '<domain>', '', '<a></b>', '<network/>', 'no XML'])
      expect(codeOf(text), text).toBe('xml');
  });

  test('of more than 16 MiB, 512 levels or 262144 elements and attributes is refused', () => {
    expect(codeOf(`<domain>${' '.repeat(1 << 24)}</domain>`)).toBe('limit');
    const nested = (depth: number): string => '<a>'.repeat(depth) + '</a>'.repeat(depth);
    expect(
      codeOf(
        nested(512)
          .replace('<a>', '<domain>')
          .replace(/<\/a>$/, '</domain>'),
      ),
    ).toBe('fine');
    expect(codeOf(nested(513))).toBe('xml');
    expect(codeOf(`<domain>${'<a b="c"/>'.repeat(1 << 17)}</domain>`)).toBe('limit');
  });
});

test('a domain with more than 4096 devices is refused', () => {
  const many = (count: number): string => `<domain><devices>${'<hub/>'.repeat(count)}</devices></domain>`;
  expect(codeOf(many(4096))).toBe('fine');
  expect(codeOf(many(4097))).toBe('xml');
});

test('what is not understood, or not said, is told in words', () => {
  const { unknown, unplaced } = describeDomain(
    domain.replace(
      '</devices>',
      "<new model='x'><address type='pci'/></new><video><model type='odd'/></video></devices>",
    ),
  );
  expect(unplaced).toEqual(['net0']);
  expect(unknown).toEqual([
    '<interface user>: virtkit does not know the number of queues x',
    '<new x>: virtkit does not know what device it becomes',
    '<video>: virtkit does not know the model odd',
  ]);
  expect(describeDomain('<domain/>').unknown).toEqual([
    'the domain does not say its machine type: libvirt chooses one when the domain is defined',
    'the domain does not say the size of its memory',
  ]);
});

test('a name that every object has a member of is a name as any other', () => {
  const devices = [
    "<controller type='pci' model='NAME'/><controller type='scsi' model='NAME'/><controller type='usb' model='NAME'/>",
    "<disk type='NAME'><target bus='NAME' dev='NAME'/></disk><disk type='NAME'><target bus='virtio'/></disk>",
    "<interface type='NAME'><model type='virtio'/><driver txmode='NAME'/></interface><input bus='virtio' type='NAME'/>",
    "<video><model type='NAME'/></video><sound model='NAME'/>",
  ].join('');
  const text = `<domain><memory unit='NAME'>1</memory><devices>${devices}</devices></domain>`;
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    const { command, unknown } = describeDomain(text.replaceAll('NAME', name));
    expect(unknown).toEqual([
      'the domain does not say its machine type: libvirt chooses one when the domain is defined',
      'the domain does not say the size of its memory',
      ...[`<controller pci>: virtkit does not know the model ${name}`],
      ...[`<controller scsi>: virtkit does not know the SCSI controller ${name}`],
      ...[`<controller usb>: virtkit does not know the model ${name}`],
      ...[`<input ${name}>: virtkit does not know the type ${name}`],
      ...[`<video>: virtkit does not know the model ${name}`],
      ...[`<sound ${name}>: virtkit does not know the model ${name}`],
    ]);
    expect(command).toContain('tap,id=hostnet0,queues=1');
    expect(command.filter((word) => /^(ide-hd|virtio-blk-pci),/.test(word))).toHaveLength(2);
  }
});

test('no value becomes an option of its own', () => {
  const alias = (name: string): string => `<alias name='${name},script=/x'/>`;
  const { command } = describeDomain(
    `<domain><memory>4</memory><maxMemory slots='1,script=/x'>8</maxMemory><devices>
     <interface type='ethernet'><model type='virtio'/><driver queues='1,script=/x'/>${alias('a')}</interface>
     <channel><target type='virtio'/>${alias('b')}</channel><rng>${alias('c')}</rng><crypto>${alias('d')}</crypto>
     <filesystem>${alias('e')}</filesystem><memory model='virtio-mem'><target><size>1</size></target>${alias('f')}</memory>
     <disk><driver iothread='1,script=/x'/><target bus='virtio'/>${alias('g')}</disk></devices></domain>`,
  );
  const held = command.filter((word) => word.includes('script=/x'));
  expect(held.length).toBeGreaterThan(12);
  expect(held.filter((word) => /(?<!,)(,,)*,script/.test(word))).toEqual([]);
});

test('a machine or device type with "=" in it, which QEMU would read as a property, is refused', () => {
  for (const name of ['pc=q35', 'dumpdtb=/x', 'type=pc'])
    expect(() =>
      describeDomain(`<domain><os><type machine='${name}'>hvm</type></os><devices/></domain>`),
    ).toThrow(`"${name}" is no name of a type`);
  expect(() =>
    describeDomain(
      "<domain><os><type machine='pc'>hvm</type></os><devices><interface type='user'><model type='id=x'/></interface></devices></domain>",
    ),
  ).toThrow('"id=x" is no name of a type');
});

test('overrides and arguments that are passed to QEMU are taken as they are', () => {
  const { command } = describeDomain(
    domain.replace(
      '</domain>',
      `<qemu:override><qemu:device alias='virtio-disk0'><qemu:frontend><qemu:property name='queue-size' type='unsigned' value='77'/>
       <qemu:property name='event_idx' type='remove'/></qemu:frontend></qemu:device></qemu:override>
       <qemu:commandline><qemu:arg value='-device'/><qemu:arg value='virtio-rng-pci,addr=7'/></qemu:commandline></domain>`,
    ),
  );
  expect(command.slice(-2)).toEqual(['-device', 'virtio-rng-pci,addr=7']);
  const disk = command.find((word) => word.startsWith('virtio-blk-pci')) ?? '';
  expect(disk).toContain('queue-size=77');
  expect(disk).not.toContain('event_idx');
});

test('a damaged domain is described or refused, and nothing else', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(fc.nat(domain.length - 1), fc.constantFrom('', '<', '>', "'", '/', '&', '0', '-', 'on')),
        {
          maxLength: 6,
        },
      ),
      (changes) => {
        let text = domain;
        for (const [at, by] of changes) text = text.slice(0, at) + by + text.slice(at + 1);
        expect(codeOf(text)).toMatch(/^(fine|xml)$/);
      },
    ),
  );
});
