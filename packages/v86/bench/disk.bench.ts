// The same guest reads and writes two disks of the same content in memory: v86's IDE, and virtio-blk. Rounds interleaved; time
// of this process' CPU (all of it is the emulator) and on the clock, medians. VIRTKIT_V86_MODE: legacy, modern, transitional.
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { bootV86, findV86Kit, v86Options } from '@virtkit/lab/v86.ts';
import type { PciMode } from '@virtkit/transport-pci';
import { attach } from '@virtkit/v86';
import { V86 } from 'v86';

const MIB = 1 << 20;
const ROUNDS = Number(process.env['VIRTKIT_ROUNDS'] ?? 7);
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
const direct = (name: string, bs: string, count: number): Case[] => [
  {
    name: `read ${name} direct`,
    command: (disk) => `dd if=${disk} of=/dev/null bs=${bs} count=${count} iflag=direct`,
  },
  {
    name: `write ${name} direct`,
    command: (disk) => `dd if=/dev/zero of=${disk} bs=${bs} count=${count} oflag=direct`,
  },
];
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
  ...direct('4k', '4k', 1500),
  ...direct('64k', '64k', 400),
  ...direct('1M', '1M', 48),
  ...buffered('4k', '4k', 4000),
  ...buffered('64k', '64k', 320),
  ...buffered('1M', '1M', 24),
];
const disks = ['/dev/sda', '/dev/vda'] as const;

async function measure(command: string): Promise<{ cpu: number; clock: number }> {
  const cpu = process.cpuUsage();
  const clock = performance.now();
  await shell.run(command, 300_000);
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / 1000, clock: performance.now() - clock };
}
const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1] ?? 0;

console.log(`v86's IDE beside virtio-blk (${mode}), ms, medians of ${ROUNDS} rounds`);
console.log(
  `  ${''.padEnd(22)}${['IDE cpu', 'virtio cpu', 'ratio', 'IDE clock', 'virtio clock', 'ratio'].map((s) => s.padStart(13)).join('')}`,
);
for (const { name, command } of cases) {
  for (const disk of disks) await measure(command(disk));
  const times = disks.map(() => ({ cpu: [] as number[], clock: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, disk] of disks.entries()) {
      const { cpu, clock } = await measure(command(disk));
      times[i]?.cpu.push(cpu);
      times[i]?.clock.push(clock);
    }
  }
  const [ide, virtio] = times.map(({ cpu, clock }) => ({ cpu: median(cpu), clock: median(clock) }));
  if (ide === undefined || virtio === undefined) continue;
  const cells = [
    ide.cpu,
    virtio.cpu,
    ide.cpu / virtio.cpu,
    ide.clock,
    virtio.clock,
    ide.clock / virtio.clock,
  ];
  console.log(
    `  ${name.padEnd(22)}${cells.map((x, i) => x.toFixed(i % 3 === 2 ? 2 : 0).padStart(13)).join('')}`,
  );
}
await emulator.stop();
process.exit(0);
