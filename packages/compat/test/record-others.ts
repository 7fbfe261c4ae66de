// Records what real QEMUs say to streams with devices other than disks and cards, at destinations that were made differently:
//   VIRTKIT_QEMU_ROOTS=DIR:DIR node --import tsx --conditions=@virtkit/source test/record-others.ts
// writes data/others.json.gz. Versions 7.2, 10.0 and 11.1; the machine stays that of the stream.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { findQemus, type QemuBinary, withQemu } from '@virtkit/lab';

const streams = new URL('../../lab/streams/', import.meta.url);

/** A change: the words of the command line as they are to be, or none for a device that is not there. */
type Change = (word: string) => string | undefined;
const more =
  (driver: string, text: string): Change =>
  (word) =>
    word.startsWith(driver) ? `${word},${text}` : word;
const instead =
  (from: string, to: string): Change =>
  (word) =>
    word.replace(from, to);
const without =
  (driver: string): Change =>
  (word) =>
    word.startsWith(driver) ? undefined : word;

const CHANGES: Readonly<Record<string, Readonly<Record<string, Change>>>> = {
  'q35-others-io': {
    'as it was': (word) => word,
    'no port': without('virtserialport'),
    'port elsewhere': instead('nr=2', 'nr=3'),
    'port without a number': instead(',nr=2', ''),
    'console without a number': instead(',nr=0', ''),
    'fewer ports possible': instead('max_ports=4', 'max_ports=3'),
    'more ports possible': instead('max_ports=4', 'max_ports=5'),
    'many ports possible': instead('max_ports=4', 'max_ports=31'),
    'no reporting': instead(',free-page-reporting=on', ''),
    'no deflation': instead('deflate-on-oom=on', 'deflate-on-oom=off'),
    'hints besides': more('virtio-balloon-pci', 'free-page-hint=on,iothread=io9'),
    'one SCSI queue, vectors as before': instead('num_queues=2', 'num_queues=1,vectors=5'),
    'three SCSI queues, vectors as before': instead('num_queues=2', 'num_queues=3,vectors=5'),
    'three SCSI queues': instead('num_queues=2', 'num_queues=3'),
    'default SCSI queues': instead(',num_queues=2', ''),
    'no SCSI hot-plug': more('virtio-scsi-pci', 'hotplug=off'),
    'two outputs': more('virtio-gpu-pci', 'max_outputs=2'),
    'other vectors of the generator': more('virtio-rng-pci', 'vectors=3'),
  },
  'pc-port-throttled': {
    'as it was': (word) => word,
    'port elsewhere': instead('nr=35', 'nr=36'),
    'fewer ports possible': instead('max_ports=40', 'max_ports=36'),
  },
  'pc-port-throttled-packed': { 'as it was': (word) => word },
  'q35-balloon-io': {
    'as it was': (word) => word,
    'no hints': instead('free-page-hint=on,', ''),
    'no poison': more('virtio-balloon-pci', 'page-poison=off'),
  },
  'q35-virtiomem-io': {
    'as it was': (word) => word,
    'larger blocks': more('virtio-mem-pci', 'block-size=4M'),
    accessible: more('virtio-mem-pci', 'unplugged-inaccessible=off'),
    'more memory wanted': instead('requested-size=32M', 'requested-size=64M'),
  },
  'q35-iommu-io': {
    'as it was': (word) => word,
    'no bypass at boot': more('virtio-iommu-pci', 'boot-bypass=off'),
  },
};

/** What one QEMU decided. */
export interface Recorded {
  readonly case: string;
  readonly dest: string;
  readonly change: string;
  readonly commandLine: readonly string[];
  readonly ok: boolean;
  readonly stderr: string;
}

/** The destination's words: the kernel is in the guest's memory, and its files are not needed. */
function wordsFor(commandLine: readonly string[], machine: string, change: Change): string[] {
  const words: string[] = [];
  for (let at = 1; at < commandLine.length; at++) {
    const word = commandLine[at] ?? '';
    if (['-kernel', '-initrd', '-append'].includes(word)) {
      at++;
      continue;
    }
    const changed = commandLine[at - 1] === '-M' ? word.replace(/^[^,]+/, machine) : change(word);
    if (changed === undefined) words.pop();
    else words.push(changed);
  }
  return ['-object', 'iothread,id=io9', ...words];
}

async function load(
  binary: QemuBinary,
  name: string,
  change: string,
  from: { readonly stream: Buffer; readonly machine: string; readonly commandLine: readonly string[] },
): Promise<Recorded | undefined> {
  const how = CHANGES[name.replace(/^q\d+-/, '')]?.[change];
  if (how === undefined) return undefined;
  const words = wordsFor(from.commandLine, from.machine, how);
  const own = words.indexOf('-bios');
  const megabytes = Number(/size=(\d+)M,mem-path=ram\.img/.exec(words.join(' '))?.[1]);
  const files = { 'disk.img': 64 << 20, 'scsi.img': 16 << 20, 'vmem.img': 128 << 20 };
  const room = words.includes('256M,maxmem=1G,slots=2') ? ['-m', '256M,maxmem=1G,slots=2'] : [];
  const options = {
    arch: 'x86_64',
    binary,
    machine: from.machine,
    memoryMiB: megabytes,
    incoming: true,
    paused: true,
    files,
    args: [...room, '-object', 'iothread,id=io9', ...words.slice(own)],
  } as const;
  return withQemu(options, async (vm) => {
    const { ok } = await vm.load(from.stream);
    const commandLine = ['qemu-system-x86_64', ...words];
    return { case: name, dest: binary.version, change, commandLine, ok, stderr: vm.stderr };
  });
}

const recorded: Recorded[] = [];
const binaries = [...findQemus('x86_64').values()].filter(({ version }) => !version.startsWith('5.'));
for (const version of readdirSync(streams)) {
  for (const [short, changes] of Object.entries(CHANGES)) {
    const name = `q${version.split('.').slice(0, 2).join('')}-${short}`;
    const file = (suffix: string): URL => new URL(`${version}/${name}${suffix}`, streams);
    if (!existsSync(file('.json'))) continue;
    const stream = gunzipSync(readFileSync(file('.mig.gz')));
    const info = JSON.parse(readFileSync(file('.json'), 'utf8')) as {
      readonly machine: string;
      readonly command_line: readonly string[];
    };
    for (const binary of binaries) {
      // an older QEMU does not have the machine
      if (Number.parseFloat(binary.version) < Number.parseFloat(version)) continue;
      for (const change of Object.keys(changes)) {
        try {
          const from = { stream, machine: info.machine, commandLine: info.command_line };
          const result = await load(binary, name, change, from);
          if (result === undefined) continue;
          recorded.push(result);
          console.log(name, binary.version, change, result.ok);
        } catch (error) {
          console.log(name, binary.version, change, String(error).slice(0, 300));
        }
      }
    }
  }
}
writeFileSync(
  new URL('data/others.json.gz', import.meta.url),
  gzipSync(JSON.stringify(recorded), { level: 9 }),
);
process.exit(0);
