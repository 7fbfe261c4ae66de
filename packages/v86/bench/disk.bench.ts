// The same guest reads and writes two disks of the same content in memory: v86's IDE, and virtio-blk. Rounds in turns of several, the first
// of which do not count (v86 keeps so much translated code and no more, and a guest has one kind of disk); time of this process' CPU
// (all of it is the emulator), on the clock, and instructions of the guest, medians. VIRTKIT_V86_MODE: legacy, modern, transitional.
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { bootV86, findV86Kit, v86Options } from '@virtkit/lab/v86.ts';
import type { PciMode } from '@virtkit/transport-pci';
import { attach } from '@virtkit/v86';
import { V86 } from 'v86';

const MIB = 1 << 20;
const ROUNDS = Number(process.env['VIRTKIT_ROUNDS'] ?? 8);
/** Rounds of a turn that count, and those before. */
const TURN = 4;
const WARM_UP = 3;
const found = findV86Kit();
if (!found.ok) {
  console.log(`not run: ${found.reason}`);
  process.exit(0);
}
const content = new Uint8Array(64 * MIB).map((_, i) => (i * 2654435761) >>> 24);
const emulator = new V86(v86Options(found.kit, { hda: { buffer: content.slice().buffer } }));
const mode = (process.env['VIRTKIT_V86_MODE'] ?? 'transitional') as PciMode;
attach(emulator, new BlkDevice({ backend: memoryDisk(content) }), { slot: 3, mode });
const shell = await bootV86(found.kit, emulator);
await shell.run('cat /sys/block/sda/size /sys/block/vda/size');

interface Case {
  readonly name: string;
  readonly command: (disk: string) => string;
}
/** `times`: over the disk again. */
const direct = (name: string, bs: string, count: number, times = 1): Case[] => [
  {
    name: `read ${name} direct`,
    command: (disk) => again(times, `dd if=${disk} of=/dev/null bs=${bs} count=${count} iflag=direct`),
  },
  {
    name: `write ${name} direct`,
    command: (disk) => again(times, `dd if=/dev/zero of=${disk} bs=${bs} count=${count} oflag=direct`),
  },
];
const again = (times: number, command: string): string => Array<string>(times).fill(command).join('; ');
const buffered = (name: string, bs: string, count: number): Case[] => [
  {
    name: `read ${name} buffered`,
    command: (disk) =>
      `dd if=${disk} of=/dev/null bs=${bs} count=${count}; echo 3 > /proc/sys/vm/drop_caches`,
  },
  {
    name: `write ${name} buffered`,
    command: (disk) => `dd if=/dev/zero of=${disk} bs=${bs} count=${count} conv=fsync`,
  },
];
const cases = [
  ...direct('4k', '4k', 4000),
  ...direct('64k', '64k', 1000),
  ...direct('1M', '1M', 60, 6),
  ...buffered('4k', '4k', 4000),
  ...buffered('64k', '64k', 320),
  ...buffered('1M', '1M', 24),
];
const disks = ['/dev/sda', '/dev/vda'] as const;

interface Cpu {
  readonly instruction_counter: Int32Array;
}
const { cpu: guest } = (emulator as unknown as { readonly v86: { readonly cpu: Cpu } }).v86;
const instructions = (): number => guest.instruction_counter[0] ?? 0;

interface Times {
  /** Milliseconds. */
  readonly cpu: number;
  readonly clock: number;
  /** Millions of the guest's instructions. */
  readonly work: number;
}
async function measure(command: string): Promise<Times> {
  const cpu = process.cpuUsage();
  const clock = performance.now();
  const first = instructions();
  await shell.run(command, 300_000);
  const { user, system } = process.cpuUsage(cpu);
  const work = ((instructions() - first) >>> 0) / 1e6;
  return { cpu: (user + system) / 1000, clock: performance.now() - clock, work };
}
const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;
const medians = (list: readonly Times[]): Times => ({
  cpu: median(list.map(({ cpu }) => cpu)),
  clock: median(list.map(({ clock }) => clock)),
  work: median(list.map(({ work }) => work)),
});

const COLUMNS = ['cpu', 'clock', 'work'] as const;
console.log(
  `v86's IDE beside virtio-blk (${mode}): ms of CPU, ms, millions of instructions; medians of ${ROUNDS} rounds`,
);
console.log(
  `  ${''.padEnd(22)}${COLUMNS.flatMap((name) => [`IDE ${name}`, `virtio ${name}`, 'ratio'])
    .map((text) => text.padStart(13))
    .join('')}`,
);
for (const { name, command } of cases) {
  const times: Record<(typeof disks)[number], Times[]> = { '/dev/sda': [], '/dev/vda': [] };
  for (let turn = 0; turn < ROUNDS / TURN; turn++) {
    for (const disk of disks) {
      for (let round = 0; round < WARM_UP; round++) await measure(command(disk));
      for (let round = 0; round < TURN; round++) times[disk].push(await measure(command(disk)));
    }
  }
  const [ide, virtio] = [medians(times['/dev/sda']), medians(times['/dev/vda'])];
  const cells = COLUMNS.flatMap((column) => [
    ide[column].toFixed(0),
    virtio[column].toFixed(0),
    (ide[column] / virtio[column]).toFixed(2),
  ]);
  console.log(`  ${name.padEnd(22)}${cells.map((text) => text.padStart(13)).join('')}`);
}
await emulator.stop();
process.exit(0);
