// A guest of a real libvirt whose drivers have taken their devices: what `check` says is compared with what libvirt and QEMU do.
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answerOf, checkRunning } from '@virtkit/compat';
import {
  buildInitramfs,
  delay,
  findGuestKit,
  kernelCommandLine,
  type Libvirtd,
  whyNoLibvirt,
} from '@virtkit/lab';
import { type Asked, askRunning } from '../src/ask-running.ts';
import { type Checked, check, type TargetWords, targetOf } from '../src/check.ts';
import { VirshMonitor } from '../src/monitor.ts';
import { type Read, readInput } from '../src/read.ts';
import { registry } from '../src/registry.ts';

const kit = findGuestKit('x86_64');

/** Why there are no such guests on this machine; undefined: there are. */
export function whyNoGuests(): string | undefined {
  return whyNoLibvirt() ?? (kit.ok ? undefined : kit.reason);
}

/** How long a guest may take to bring its drivers up, on the slowest machine. */
const BOOT_MS = 400_000;

/** Puts kernel, initial file system and disks where the daemon's guests find them. */
export function prepareGuest({ directory }: Libvirtd): void {
  if (!kit.ok) throw new Error(kit.reason);
  const modules = [
    'virtio_blk',
    'virtio_net',
    'virtio_scsi',
    'virtio_console',
    'virtio_balloon',
    'virtio_rng',
  ];
  writeFileSync(
    join(directory, 'initrd'),
    buildInitramfs(kit.kit, { modules, disk: false, network: false, commands: ['ip link set eth0 up'] }),
  );
  for (const name of ['disk', 'other']) {
    writeFileSync(join(directory, `${name}.raw`), '');
    truncateSync(join(directory, `${name}.raw`), 1 << 20);
  }
}

/** A domain with each kind of device that has many properties, all of them said. */
export function guestDomain({ directory }: Libvirtd, name: string, machine = 'q35'): string {
  if (!kit.ok) throw new Error(kit.reason);
  const all = (names: string): string =>
    names
      .split(' ')
      .map((each) => `${each}='on'`)
      .join(' ');
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>128</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='${machine}'>hvm</type><kernel>${kit.kit.kernelPath}</kernel><initrd>${directory}/initrd</initrd>
<cmdline>${kernelCommandLine('x86_64')}</cmdline></os><features><acpi/></features>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='raw' cache='writeback' event_idx='on' ioeventfd='on'/>
<source file='${directory}/disk.raw'/><target dev='vda' bus='virtio'/><serial>one</serial></disk>
<interface type='ethernet'><mac address='52:54:00:00:00:01'/><model type='virtio'/>
<driver name='qemu' rx_queue_size='512' event_idx='on' ioeventfd='on' packed='off' page_per_vq='off'>
<host ${all('csum gso tso4 tso6 ecn ufo mrg_rxbuf')}/><guest ${all('csum tso4 tso6 ecn ufo')}/></driver><rom bar='on'/></interface>
<controller type='scsi' model='virtio-scsi'><driver queues='2' cmd_per_lun='64' max_sectors='512' ioeventfd='on'/></controller>
<controller type='virtio-serial' index='0' ports='8'/>
<channel type='null'><target type='virtio' name='org.vk.0'/></channel>
<serial type='file'><source path='${directory}/${name}.console'/></serial>
<memballoon model='virtio' autodeflate='on'/>
<rng model='virtio'><rate bytes='1024' period='1000'/><backend model='random'>/dev/urandom</backend></rng>
</devices></domain>`;
}

/** Defines and starts a guest, and waits until its drivers have reported themselves. */
export async function startGuest(daemon: Libvirtd, name: string, xml: string): Promise<void> {
  const file = join(daemon.directory, `${name}.xml`);
  writeFileSync(file, xml);
  await daemon.ask('define', file);
  await daemon.ask('start', name);
  const console = join(daemon.directory, `${name}.console`);
  const said = (): string => (existsSync(console) ? readFileSync(console, 'utf8') : '');
  for (const end = Date.now() + BOOT_MS; !said().includes('LAB:READY'); await delay(200))
    if (Date.now() > end) throw new Error(`the guest is not ready: ${said().slice(-2000)}`);
}

/** One change of a domain between save and restore: in the XML, `from` becomes `to`. */
export interface Change {
  readonly what: string;
  readonly from: RegExp;
  readonly to: string;
}

/** In front of a `.` of the pattern, the rest of an element's attributes. */
const change = (what: string, from: RegExp, to: string): Change => ({ what, from, to });
const host = (name: string): Change =>
  change(`host ${name} off`, new RegExp(`(<host [^>]*${name}=)'on'`), "$1'off'");
const guest = (name: string): Change =>
  change(`guest ${name} off`, new RegExp(`(<guest [^>]*${name}=)'on'`), "$1'off'");

/** Changes that libvirt lets through, so that QEMU decides. */
export const CHANGES: readonly Change[] = [
  change('nothing', /^/, ''),
  guest('csum'),
  change('scsi queues 2 to 1', /queues='2' cmd/, "queues='1' cmd"),
  change('rx_queue_size 512 to 256', /rx_queue_size='512'/, "rx_queue_size='256'"),
  host('mrg_rxbuf'),
  change('card event_idx off', /(<driver [^>]*)event_idx='on'([^>]*rx_queue)/, "$1event_idx='off'$2"),
  change('scsi max_sectors', /max_sectors='512'/, "max_sectors='1024'"),
  host('gso'),
  change('disk discard', /cache='writeback'/, "cache='writeback' discard='unmap'"),
  change('rom bar off', /<rom bar='on'/, "<rom bar='off'"),
  host('csum'),
  change('scsi queues 2 to 4', /queues='2' cmd/, "queues='4' cmd"),
  host('tso4'),
  host('tso6'),
  host('ecn'),
  host('ufo'),
  guest('tso4'),
  guest('tso6'),
  guest('ecn'),
  guest('ufo'),
  change('rx_queue_size 512 to 1024', /rx_queue_size='512'/, "rx_queue_size='1024'"),
  change('disk detect_zeroes', /cache='writeback'/, "cache='writeback' detect_zeroes='on'"),
  change('no rom', /<rom bar='on'\/>/, "<rom enabled='no'/>"),
  change('scsi cmd_per_lun', /cmd_per_lun='64'/, "cmd_per_lun='32'"),
  change('card ioeventfd off', /(<driver [^>]*)ioeventfd='on'([^>]*rx_queue)/, "$1ioeventfd='off'$2"),
  change('disk event_idx off', /(cache='writeback'[^>]*)event_idx='on'/, "$1event_idx='off'"),
  change('disk ioeventfd off', /(cache='writeback'[^>]*)ioeventfd='on'/, "$1ioeventfd='off'"),
  change('disk cache writethrough', /cache='writeback'/, "cache='writethrough'"),
  change('disk cache none', /cache='writeback'/, "cache='none'"),
  change('rng rate', /<rate bytes='1024'/, "<rate bytes='2048'"),
  change('two at once', /ufo='on' mrg_rxbuf='on'/, "ufo='off' mrg_rxbuf='off'"),
  change('other disk', /disk\.raw/, 'other.raw'),
];

/** What `check` says of a load, and QEMU's lines that it names. */
export interface Said {
  readonly answer: string;
  readonly says: readonly string[];
  readonly text: string;
}

export function say(read: Read, words: TargetWords): Said {
  const { text }: Checked = check(read, words, true);
  const { answer, verdicts } = JSON.parse(text);
  const says = verdicts.flatMap(({ qemuSays }: { qemuSays?: string }) => qemuSays ?? []);
  return { answer, says, text };
}

/** What a guest says that runs. */
export function askGuest({ uri }: Libvirtd, name: string): Promise<Asked> {
  return askRunning(new VirshMonitor(uri, name));
}

/** What `check` says of a guest that was asked, without a stream. */
export function sayRunning({ running }: Asked, words: TargetWords): Said {
  const verdicts = checkRunning(running, targetOf(words), registry);
  return {
    answer: answerOf(verdicts),
    says: verdicts.flatMap(({ qemuSays }) => qemuSays ?? []),
    text: JSON.stringify(verdicts, null, 2),
  };
}

export { readInput };
