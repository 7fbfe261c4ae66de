// Machines as libvirt, KubeVirt and Proxmox describe them.
import { checkInventory, describedTarget, outlinedTarget } from '@virtkit/compat';
import {
  describeDomain,
  describeQm,
  describeVmi,
  isShownCommand,
  type MachineDescription,
  type MachineOutline,
} from '@virtkit/libvirt';
import { registry } from '../../../cli/src/registry.ts';
import { parseXml, type XmlElement } from '../../../libvirt/src/xml.ts';
import { optionPairs, ownKeys } from '../option-pairs.ts';
import { demand, type FuzzTarget, unlessRefused } from '../target.ts';

const utf8 = (input: Uint8Array): string => Buffer.from(input).toString('utf8');
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const TARGET = 'qemu-7.2';

/** Names that every object has a member of: a table must not find them. */
const MEMBERS = ['constructor', '__proto__', 'toString', 'hasOwnProperty'];

/** Options that a domain may become, and the keys of each: a value of the XML must not become one more. */
const OPTIONS: Readonly<Record<string, { readonly first: string; readonly keys: readonly string[] }>> = {
  '-machine': { first: 'type', keys: ['type', 'acpi', 'hpet', 'gic-version', 'smm', 'iommu'] },
  '-drive': { first: 'file', keys: ['if', 'unit', 'format', 'readonly', 'file'] },
  '-m': { first: 'size', keys: ['size', 'slots', 'maxmem'] },
  '-numa': { first: 'type', keys: ['type', 'nodeid', 'memdev'] },
  '-smp': { first: 'cpus', keys: ['cpus', 'maxcpus'] },
  '-object': { first: 'qom-type', keys: ['qom-type', 'id', 'size'] },
  '-blockdev': { first: 'driver', keys: ['driver', 'size', 'node-name', 'read-only'] },
  '-netdev': { first: 'type', keys: ['type', 'id', 'queues'] },
  '-fsdev': { first: 'type', keys: ['type', 'id'] },
  '-chardev': { first: 'backend', keys: ['backend', 'id'] },
};

/** Options whose value is whole: a file, and a device, whose properties are of any name. */
const WHOLE = ['-bios', '-device'];

function ownOptions({ command }: MachineDescription): void {
  demand(/^qemu-system-/.test(command[0] ?? ''), `the program is ${command[0]}`);
  for (let at = 1; at < command.length; at++) {
    const option = command[at] ?? '';
    if (option === '-nodefaults') continue;
    const text = command[++at];
    demand(typeof text === 'string', `${option} has no value`);
    const known = Object.hasOwn(OPTIONS, option) ? OPTIONS[option] : undefined;
    demand(known !== undefined || WHOLE.includes(option), `a domain became the option ${option}`);
    if (known !== undefined) ownKeys(`${option} ${text}`, optionPairs(text, known.first), known.keys);
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>'"\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Writes a document anew. */
function written({ name, attributes, children, text }: XmlElement): string {
  const head = [...attributes].map(([key, value]) => ` ${key}='${escaped(value)}'`).join('');
  return `<${name}${head}>${escaped(text)}${children.map(written).join('')}</${name}>`;
}

const DOMAIN = `<domain type='kvm'><name>a &amp; b</name><memory unit='MiB'>128</memory><maxMemory slots='4' unit='KiB'>1048576</maxMemory>
<vcpu current='1'>2</vcpu><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader type='pflash'>/a,b</loader></os>
<features><acpi/><smm state='on'/></features><clock><timer name='hpet' present='no'/></clock>
<cpu><numa><cell id='0' cpus='0-1' memory='64' unit='MiB'/></numa></cpu><devices>
<controller type='pci' index='0' model='pcie-root'/>
<controller type='pci' index='1' model='pcie-root-port'><target port='0x8' chassis='1'/><address type='pci' bus='0' slot='1'/></controller>
<controller type='scsi' model='virtio-scsi'><driver iothread='1'/></controller><controller type='usb' model='qemu-xhci'/>
<disk type='file' device='disk'><driver queues='4' event_idx='off' cache='none'/><source file='a'/><target dev='vda' bus='virtio'/>
<serial>s</serial><alias name='ua-d,x=y'/><address type='pci' bus='1' slot='0'/></disk>
<interface type='ethernet'><model type='virtio'/><driver queues='2'/><alias name='n'/></interface>
<filesystem><driver type='path'/><target dir='t'/></filesystem><channel><target type='virtio' name='org.vk.0'/></channel>
<serial><target type='isa-serial' port='0'/></serial><input type='mouse' bus='virtio'/><video><model type='virtio'/></video>
<video><model type='qxl'/></video><sound model='ich9'/><watchdog model='i6300esb'/><memballoon model='virtio' autodeflate='on'/>
<rng model='virtio'><rate bytes='77'/></rng><iommu model='virtio'/><memory model='virtio-mem'><target><size unit='MiB'>64</size></target></memory>
<crypto/><hostdev type='pci'><address type='pci' slot='9'/></hostdev></devices></domain>`;

export const domain: FuzzTarget = {
  name: 'domain-xml',
  about: "libvirt's domains: the document written anew is the same machine, and no value becomes an option",
  lengthMax: 4096,
  run: (input) => {
    const text = utf8(input);
    const description = unlessRefused(() => describeDomain(text));
    if (description === undefined) return;
    const isPassed = /:(commandline|override)/.test(text);
    if (!isPassed) ownOptions(description);
    const anew = describeDomain(written(parseXml(text)));
    demand(
      JSON.stringify(anew) === JSON.stringify(description),
      'the document written anew is another machine',
    );
    const length = description.command.join(' ').length;
    demand(length <= 64 * text.length + 1024, `${length} characters of ${text.length}`);
    const target = unlessRefused(() => describedTarget(TARGET, description));
    const devices = target?.destination?.devices ?? [];
    demand(
      devices.every(({ driver }) => typeof driver === 'string'),
      'a device whose type is no text',
    );
    if (target !== undefined) checkInventory(target, registry);
  },
  seeds: function* seeds() {
    yield bytes(DOMAIN);
    yield bytes(
      "<domain><os><type arch='s390x' machine='s390-ccw-virtio'>hvm</type></os><devices/></domain>",
    );
    yield bytes(`<domstatus>${DOMAIN}</domstatus>`);
    for (const member of MEMBERS)
      yield bytes(DOMAIN.replaceAll(/(type|model|unit|arch)='[^']*'/g, `$1='${member}'`));
  },
  words: [
    ...MEMBERS,
    ...DOMAIN.split(/[<>\s]+/).filter((word) => word.length > 2),
    ...[
      '<qemu:commandline>',
      '<qemu:arg value=',
      '<qemu:override>',
      ',x=y',
      "<address type='ccw' devno='0x1'/>",
    ],
  ],
};

/** Demands that what is said of a machine is numbers and words that QEMU has. */
function saneOutline(outline: MachineOutline, text: string): void {
  const { name, machine, memoryBytes, cpus, devices } = outline;
  demand(Number.isSafeInteger(cpus) && cpus > 0, `${cpus} processors`);
  demand(
    memoryBytes === undefined || (Number.isSafeInteger(memoryBytes) && memoryBytes > 0),
    `${memoryBytes} bytes of memory`,
  );
  demand(typeof name === 'string' && name.length <= text.length, 'a name that is longer than the text');
  demand(machine === undefined || typeof machine === 'string', 'a machine type that is no text');
  for (const { driver, properties } of devices)
    for (const [key, value] of properties) demand(/^(on|\d+)$/.test(value), `${driver} ${key}=${value}`);
  unlessRefused(() => outlinedTarget(TARGET, outline));
}

const VMI = `kind: VirtualMachineInstance
metadata: { name: web }
spec:
  domain:
    cpu: { cores: 2, sockets: 2, threads: 1 }
    machine: { type: q35 }
    memory: { guest: 1Gi, maxGuest: 2Gi }
    resources: { requests: { memory: 512M } }
    devices: &d
      blockMultiQueue: true
      networkInterfaceMultiqueue: true
status: { machine: { type: pc-q35-rhel9.6.0 } }
`;

export const vmi: FuzzTarget = {
  name: 'vmi',
  about: "KubeVirt's objects in YAML or JSON",
  lengthMax: 4096,
  run: (input) => {
    const text = utf8(input);
    const outline = unlessRefused(() => describeVmi(text));
    if (outline !== undefined) saneOutline(outline, text);
  },
  seeds: function* seeds() {
    yield bytes(VMI);
    yield bytes(VMI.replace(', maxGuest: 2Gi', ''));
    yield bytes(
      '{"kind":"VirtualMachine","spec":{"template":{"spec":{"domain":{"cpu":{"cores":3},"devices":{"blockMultiQueue":true}}}}}}',
    );
  },
  words: [
    ...MEMBERS,
    ...VMI.split(/[\s{},]+/).filter((word) => word.length > 2),
    ...[
      '*d',
      '<<: *d',
      '!!set',
      '!!binary',
      '? ',
      '- ',
      '.inf',
      '1e300',
      '999999999999Ei',
      '0x7fffffffffffff',
    ],
  ],
};

const QM = `agent: 1
cores: 2
hotplug: disk,network
machine: pc-q35-9.2+pve1
memory: 2048
name: web
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,queues=4
net1: virtio,queues=4
numa: 0
sockets: 2
vcpus: 3

[before]
cores: 8
memory: 1
`;

export const qm: FuzzTarget = {
  name: 'qm',
  about: "Proxmox' configurations: line ends do not matter, nor does what stands in a snapshot's section",
  lengthMax: 4096,
  run: (input) => {
    const text = utf8(input);
    isShownCommand(text);
    const outline = unlessRefused(() => describeQm(text));
    if (outline === undefined) return;
    saneOutline(outline, text);
    const same = (other: string, what: string): void =>
      demand(JSON.stringify(describeQm(other)) === JSON.stringify(outline), `another machine: ${what}`);
    same(text.replaceAll(/\r?\n/g, '\r\n'), 'with line ends of another system');
    same(`${text}\n[later]\ncores: 7\nmemory: 9\n`, 'with a snapshot');
  },
  seeds: function* seeds() {
    yield bytes(QM);
    yield bytes("/usr/bin/kvm -id 100 -name 'web,debug-threads=on'");
  },
  words: [...MEMBERS, ...QM.split(/[\s,]+/).filter((word) => word.length > 2), '/usr/bin/kvm -id'],
};
