import { type LiveDevice, MappedMemory } from '@virtkit/core';
import { type BlkBackend, BlkDevice } from '@virtkit/device-blk';
import { PciBus } from '@virtkit/testing';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import { type LiveMachine, mappedRam, opaqueSection, virtioSection } from '../../src/live.ts';

/** Guest memory: small, so that a connection can be cut at every byte. */
const RAM_BYTES = 16 * 4096;
const SLOT = 2;
const SECTOR = 512;
const SECTORS = 16;
export const DISK_BYTES: number = SECTORS * SECTOR;

/** A disk that both machines can reach. */
export interface SmallDisk {
  read(position: number, target: Uint8Array): void;
  write(position: number, source: Uint8Array): void;
}

function memoryDisk(): SmallDisk {
  const bytes = new Uint8Array(DISK_BYTES);
  return {
    read: (position, target) => target.set(bytes.subarray(position, position + target.length)),
    write: (position, source) => bytes.set(source, position),
  };
}

/** What both machines can reach. It notices if two machines run, and if one touches it that does not. */
export class SmallWorld {
  readonly disk: SmallDisk;
  running: SmallMachine | undefined;
  readonly faults: string[] = [];

  constructor(disk: SmallDisk = memoryDisk()) {
    this.disk = disk;
  }
}

/** Where the guest's program keeps what it knows: in guest memory, and nowhere else. */
const AT = {
  steps: 0x1000,
  base: 0x1004,
  header: 0x1010,
  status: 0x1030,
  data: 0x1200,
  ring: 0x2000,
} as const;
const RING_SIZE = 4;
/** Legacy ring: the used ring begins at the next page. */
const AVAIL = AT.ring + 16 * RING_SIZE;
const USED = AT.ring + 0x1000;
const IO_BASE = 0xc000;
const PORT = { queueAddress: 8, queueSelect: 14, notify: 16, status: 18 } as const;
const DESC = { NEXT: 1, WRITE: 2 } as const;

/** What the guest writes in its n-th round. */
function patternOf(n: number, at: number): number {
  return n < 0 ? 0 : (31 * n + 7 * at + 1) & 0xff;
}

/**
 * A machine with a legacy disk, and a processor that runs one program: read a sector, compare, write it anew, without end. The
 * program and its driver are states in guest memory, so that the guest moves with its memory.
 */
export class SmallMachine implements LiveMachine {
  readonly name = 'virtkit-small-1.0';
  readonly bytes = new Uint8Array(RAM_BYTES);
  readonly memory = new MappedMemory([{ gpa: 0, bytes: this.bytes }]);
  readonly bus = new PciBus();
  readonly disk: LiveDevice<PciParts, unknown>;
  readonly ram = mappedRam(this.memory);
  readonly sections;
  readonly #world: SmallWorld;
  readonly #view = new DataView(this.bytes.buffer);
  /** State of the processor: how many instructions it has executed. */
  instructions = 0;
  #made = false;
  /** What memory was when it was stopped last. */
  atPause: Uint8Array | undefined;
  /** What memory was when it went on last. */
  atResume: Uint8Array | undefined;
  /** Makes a call of the host fail. */
  failing: 'pause' | 'resume' | 'save' | 'load' | 'startLog' | undefined;

  constructor(world: SmallWorld) {
    this.#world = world;
    const { bus } = this;
    const fn = new PciFunction(new BlkDevice({ backend: this.#backend(), queueSize: RING_SIZE }), {
      memory: this.memory,
      mode: 'legacy',
      vectors: 0,
      setIntx: (level) => bus.setIntx(SLOT, level),
    });
    bus.plug(SLOT, fn);
    this.disk = fn.device as LiveDevice<PciParts, unknown>;
    this.disk.pause();
    this.#made = true;
    this.sections = [
      virtioSection(this.disk, { path: '0000:00:02.0' }),
      opaqueSection({
        name: 'small-cpu',
        version: 1,
        save: () => {
          this.#mayFail('save');
          return Uint8Array.of(...word(this.instructions));
        },
        load: (state) => {
          this.#mayFail('load');
          if (state.length !== 4) throw new Error(`a processor of ${state.length} bytes`);
          const instructions = new DataView(state.buffer, state.byteOffset).getUint32(0);
          return () => {
            this.instructions = instructions;
          };
        },
      }),
    ];
    const startLog = this.ram.startLog;
    this.ram = {
      ...this.ram,
      startLog: () => {
        this.#mayFail('startLog');
        startLog();
      },
    };
  }

  pause(): void | Promise<void> {
    this.#mayFail('pause');
    if (this.#world.running === this) this.#world.running = undefined;
    this.disk.pause();
    this.atPause = this.bytes.slice();
  }

  resume(): void | Promise<void> {
    this.#mayFail('resume');
    const { running } = this.#world;
    if (running !== undefined && running !== this) this.#world.faults.push('two machines run');
    this.#world.running = this;
    this.atResume = this.bytes.slice();
    this.disk.resume();
  }

  /** Starts the guest: finds its disk, sets the ring up. */
  boot(): void {
    this.resume();
    this.bus.configWrite(SLOT, 0x10, 4, IO_BASE);
    this.bus.configWrite(SLOT, 0x04, 2, 0x5);
    for (const status of [0, 1, 3]) this.#out(PORT.status, 1, status);
    this.#out(PORT.queueSelect, 2, 0);
    this.#out(PORT.queueAddress, 4, AT.ring / 4096);
    this.#out(PORT.status, 1, 7);
  }

  /** Rounds that the guest has done. */
  get rounds(): number {
    return this.#view.getUint32(AT.steps, true) >> 1;
  }

  /** The guest's next request: done when it comes back, checked when the next one is made. */
  step(): void {
    if (this.#world.running !== this) throw new Error('this machine does not run');
    this.instructions++;
    const step = this.#view.getUint32(AT.steps, true);
    const n = step >> 1;
    if (step % 2 === 0) this.#request(0, n);
    else {
      this.#compare(n - SECTORS);
      for (let at = 0; at < SECTOR; at++) this.bytes[AT.data + at] = patternOf(n, at);
      this.#request(1, n);
    }
    this.#store(AT.steps, step + 1);
  }

  /** The processor writes without the disk: `count` pages. */
  scribble(count: number): void {
    for (let page = 0; page < count; page++) this.#store(0x5000 + 4096 * (page % 11), ++this.instructions);
  }

  #compare(n: number): void {
    for (let at = 0; at < SECTOR; at++) {
      if (this.bytes[AT.data + at] === patternOf(n, at)) continue;
      this.#world.faults.push(
        `round ${n + SECTORS}: byte ${at} of the sector is ${this.bytes[AT.data + at]}`,
      );
      return;
    }
  }

  /** One request, header, data, status, and its answer: this disk answers at once. */
  #request(type: number, n: number): void {
    const index = this.#view.getUint16(AVAIL + 2, true);
    this.#store(AT.header, type);
    this.#store(AT.header + 8, n % SECTORS);
    this.bytes[AT.status] = 0xff;
    const dataFlags = type === 0 ? DESC.NEXT | DESC.WRITE : DESC.NEXT;
    const chain = [
      [AT.header, 16, DESC.NEXT],
      [AT.data, SECTOR, dataFlags],
      [AT.status, 1, DESC.WRITE],
    ] as const;
    for (const [i, [address, length, flags]] of chain.entries()) {
      this.#store(AT.ring + 16 * i, address);
      this.#store(AT.ring + 16 * i + 8, length);
      this.#store(AT.ring + 16 * i + 12, flags | ((i + 1) << 16));
    }
    this.#view.setUint16(AVAIL + 4 + 2 * (index % RING_SIZE), 0, true);
    this.#view.setUint16(AVAIL + 2, index + 1, true);
    this.memory.markDirty(AT.header as never, 0x1200);
    this.#out(PORT.notify, 2, 0);
    const used = this.#view.getUint16(USED + 2, true);
    if (used !== ((index + 1) & 0xffff) || this.bytes[AT.status] !== 0)
      this.#world.faults.push(
        `round ${n}: used index ${used} of ${index + 1}, status ${this.bytes[AT.status]}`,
      );
  }

  #store(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
    this.memory.markDirty(at as never, 4);
  }

  #out(port: number, size: number, value: number): void {
    this.bus.portWrite(IO_BASE + port, size, value);
  }

  #mayFail(what: typeof this.failing): void {
    if (this.failing === what) throw new Error(`the host's ${what} fails`);
  }

  #backend(): BlkBackend {
    const { disk } = this.#world;
    const mine = (): void => {
      // it looks for a partition table when it is made
      if (this.#made && this.#world.running !== this)
        this.#world.faults.push('a stopped machine reaches for the disk');
    };
    return {
      size: DISK_BYTES,
      read: (position, target, from, length) => {
        mine();
        const bytes = new Uint8Array(length);
        disk.read(position, bytes);
        target.copyFrom(from, bytes);
        return undefined;
      },
      write: (position, source, from, length) => {
        mine();
        const bytes = new Uint8Array(length);
        source.copyTo(from, bytes, 0, length);
        disk.write(position, bytes);
        return undefined;
      },
    };
  }
}

function word(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
}
