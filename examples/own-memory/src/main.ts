import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { BlkDriver, MmioModernDriver, MmioSlot } from '@virtkit/testing';
import { MmioDevice } from '@virtkit/transport-mmio';
import { PAGE, PagedMemory } from './paged-memory.ts';
import { PagedRam } from './paged-ram.ts';

// An emulator with 64 GiB of guest memory, of which a guest uses a little at the far end.

const SIZE = 64 * 2 ** 30;
let written = 0;
const memory = new PagedMemory(SIZE, (_gpa, length) => {
  written += length;
});
const content = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i >>> 9) + i);
const slot = new MmioSlot();
const disk = new MmioDevice(new BlkDevice({ backend: memoryDisk(content) }), {
  memory,
  setIrq: (level) => slot.setIrq(level),
});
slot.plug(disk);

const ram = new PagedRam(memory, SIZE - 32 * 2 ** 20);
const driver = new BlkDriver({ transport: new MmioModernDriver(() => slot), ram });
driver.probe();
driver.start();

// 100 sectors at a time: buffers that cross from page to page
const reads = Array.from({ length: 20 }, (_, n) => ({ n, request: driver.read(100 * n, 100) }));
while (driver.pending > 0) driver.service();
const right = reads.filter(({ n, request }) =>
  request.data.every((byte, i) => byte === content[51200 * n + i]),
).length;
console.log(`guest: ${right} of ${reads.length} reads are right`);
console.log(`host: ${memory.pages} of ${SIZE / PAGE} pages were made; devices wrote ${written} bytes`);
if (right !== reads.length) process.exitCode = 1;
