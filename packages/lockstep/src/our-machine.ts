import {
  type Chain,
  type DeviceModel,
  FEATURE,
  type LiveDevice,
  MappedMemory,
  type VirtioCodec,
  type VirtioState,
  type Virtqueue,
} from '@virtkit/core';
import { BlkDevice } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import { codecFor } from './codec.ts';
import { ContentDisk } from './content-disk.ts';
import { NullDisk } from './null-disk.ts';
import type { Operation } from './operation.ts';
import { DESC } from './rings.ts';
import { DISK_BYTES, DISK_SERIAL, diskContent, MAC, RAM_BYTES, type Setup } from './setup.ts';
import type { View } from './view.ts';

/** Faults behind which QEMU and we go different ways, for a reason: see DIFFERENCES.md of `@virtkit/transport-pci`. */
const KNOWN: readonly { readonly reason: RegExp; readonly name: string }[] = [
  { reason: /bogus descriptor or out of resources/, name: 'buffer outside RAM' },
  { reason: /virtio-net header is invalid/, name: 'packet shorter than its header (QEMU aborts)' },
];

/** The machine of {@link Setup} made of our parts. */
export class OurMachine implements View {
  readonly setup: Setup;
  readonly ram: DataView;
  readonly bytes: Uint8Array = new Uint8Array(RAM_BYTES);
  readonly codec: VirtioCodec<PciParts, unknown>;
  /** A known difference was met: its name. */
  known: string | undefined;
  readonly #memory: MappedMemory;
  readonly #disk: NullDisk;
  #function: PciFunction;
  #level: 0 | 1 = 0;
  #work = 0;
  /** Size of each queue, and how often its ring was set up. */
  readonly #sizes: { readonly size: number; readonly setups: number }[] = [];
  #packed = false;
  readonly #resized = new Set<number>();
  readonly #watched = new WeakSet<Virtqueue>();
  /** Bottom halves: what the network card has put off until the driver has kicked. */
  readonly #deferred: (() => void)[] = [];
  /** A queue is being handled. */
  #inQueue = false;

  constructor(setup: Setup) {
    this.setup = setup;
    this.#disk = setup.content ? new ContentDisk(diskContent()) : new NullDisk(DISK_BYTES);
    this.ram = new DataView(this.bytes.buffer);
    this.#memory = new MappedMemory([{ gpa: 0, bytes: this.bytes }]);
    this.codec = codecFor(setup.device);
    this.#function = this.#make();
  }

  get live(): LiveDevice<PciParts, unknown> {
    return this.#function.device;
  }

  get config(): Uint8Array {
    return this.live.capture().transport.config;
  }

  /** The interrupt line. */
  get level(): 0 | 1 {
    return this.#level;
  }

  /**
   * Counts the bottom halves, one behind the other, that QEMU may have to run for what was done since this was asked
   * last.
   */
  takeWork(): number {
    const work = this.#work;
    this.#work = 0;
    return work;
  }

  /** Are there requests that only {@link settle} completes? */
  get hasPending(): boolean {
    return this.#disk.pending > 0;
  }

  /** Bytes of a disk with content. */
  get disk(): Uint8Array | undefined {
    return this.#disk instanceof ContentDisk ? this.#disk.bytes : undefined;
  }

  async settle(): Promise<void> {
    while (this.#disk.pending > 0) {
      this.#disk.complete();
      await new Promise((resolve) => setImmediate(resolve));
      this.#disk.settled();
    }
  }

  /** Does an operation. What was read, if it reads and something of ours is there. */
  apply(operation: Operation): number | undefined {
    const value = this.#apply(operation);
    this.#watchSizes();
    for (let proceed = this.#deferred.shift(); proceed !== undefined; proceed = this.#deferred.shift()) {
      this.#work++;
      proceed();
    }
    if (this.setup.content && this.#disk.pending > 1)
      this.known ??= 'several requests to a disk with content';
    return value;
  }

  #apply(operation: Operation): number | undefined {
    switch (operation.kind) {
      case 'memory':
        this.bytes.set(operation.bytes, operation.at);
        return undefined;
      case 'config-read':
        return this.#function.configRead(operation.at, operation.size);
      case 'config-write':
        this.#function.configWrite(operation.at, operation.size, operation.value);
        return undefined;
      case 'in':
      case 'load': {
        const place = this.#find(operation.kind === 'in', operation.at);
        if (place === undefined) return undefined;
        const value = this.#function.barRead(place.bar, place.offset, operation.size);
        // what lies behind the BAR is not ours
        return place.offset + operation.size <= place.size ? value : undefined;
      }
      case 'out':
      case 'store': {
        const place = this.#find(operation.kind === 'out', operation.at);
        if (place !== undefined)
          this.#function.barWrite(place.bar, place.offset, operation.size, operation.value);
        return undefined;
      }
    }
  }

  /** The machine is stopped, and goes on: QEMU tells the device its status anew each time. */
  stopAndGoOn(): void {
    this.live.model.setStatus?.(this.live.status);
    this.#work = 0;
  }

  /**
   * Loads saved bytes into a fresh device over the same memory. Answers what that one would save; undefined if the guest
   * has written over the indices of a ring: QEMU breaks the device then when it loads, or refuses.
   */
  reload(bytes: Uint8Array): VirtioState<PciParts, unknown> | undefined {
    const [level, known] = [this.#level, this.known];
    const { device } = this.#make();
    const state = this.codec.load(bytes);
    if (device.check(state).some(({ code }) => code === 'queue-index')) return undefined;
    device.restore(state);
    this.#level = level;
    this.known = known;
    return device.capture();
  }

  #find(io: boolean, at: number): { bar: number; offset: number; size: number } | undefined {
    for (const { index, kind, address, enabled, size } of this.#function.bars) {
      if (enabled && (kind === 'io') === io && at >= address && at < address + size)
        return { bar: index, offset: at - address, size };
    }
    return undefined;
  }

  #make(): PciFunction {
    const { setup } = this;
    const model = this.#model();
    const handleQueue = model.handleQueue.bind(model);
    model.handleQueue = (queue) => {
      this.#work ||= 1;
      const slot = this.live.queue(queue.index);
      if (this.#resized.has(queue.index))
        this.known ??= 'ring resized or of another format while it runs (QEMU may abort)';
      if (queue.format === 'split' && (slot?.avail === 0n || slot?.used === 0n))
        this.known ??= 'ring at address 0';
      this.#watchChains(queue);
      if (queue.format === 'split' && setup.device === 'net' && this.#isFarAhead(queue.index))
        this.known ??= 'avail index ahead by more than the ring';
      if (
        setup.device === 'blk' &&
        this.live.disabled &&
        queue.format === 'packed' &&
        this.#isOffered(queue.index)
      )
        this.known ??= 'packed ring of a block device without bus mastering (QEMU hangs)';
      this.#inQueue = true;
      handleQueue(queue);
      this.#inQueue = false;
    };
    const setStatus = model.setStatus?.bind(model);
    model.setStatus = (status) => {
      this.#work ||= 1;
      setStatus?.(status);
    };
    const made = new PciFunction(model, {
      memory: this.#memory,
      mode: setup.interface,
      express: setup.express,
      vectors: setup.vectors,
      machine: '7.2',
      pagePerVq: setup.pagePerVq,
      modernPioNotify: setup.notifyPio && setup.interface !== 'legacy',
      rings: { packed: setup.packed },
      setIntx: (level) => {
        this.#level = level ? 1 : 0;
      },
      sendMsi: (address, data) => {
        if (address + 4 <= RAM_BYTES) this.ram.setUint32(address, data, true);
      },
      onEvent: ({ name, reason = '', facts }) => {
        if (name !== 'fault') return;
        this.known ??= KNOWN.find((entry) => entry.reason.test(reason))?.name;
        if (
          /indirect buffer table/.test(reason) &&
          facts?.['bytes'] === 0 &&
          this.live.has(FEATURE.RING_PACKED)
        )
          this.known ??= 'empty indirect table in a packed ring (QEMU aborts)';
        if (this.#inQueue && setup.device === 'blk' && this.live.has(FEATURE.RING_PACKED))
          this.known ??= 'fault in a packed ring (QEMU hangs)';
      },
    });
    return made as PciFunction;
  }

  /** Looks at each chain for what QEMU 7.2 does otherwise. */
  #watchChains(queue: Virtqueue): void {
    if (this.#watched.has(queue)) return;
    this.#watched.add(queue);
    const pop = queue.pop.bind(queue);
    queue.pop = () => {
      const slot = this.live.queue(queue.index);
      const at = Number(slot?.desc ?? 0n) + 16 * (slot?.position.lastAvailIdx ?? 0);
      const chain = pop();
      if (chain === undefined) return chain;
      // the id is in the first descriptor for QEMU, in the last one for the specification
      const several = queue.format === 'packed' && chain.ndescs > 1;
      if (several && this.ram.getUint16(at + 12, true) !== chain.index)
        this.known ??= 'packed chain with several ids';
      if (this.setup.device === 'blk' && isShortScsi(chain))
        this.known ??= 'SCSI command with a short segment';
      return chain;
    };
  }

  #isFarAhead(index: number): boolean {
    const slot = this.live.queue(index);
    if (slot === undefined || slot.avail + 4n > BigInt(RAM_BYTES)) return false;
    const ahead = this.ram.getUint16(Number(slot.avail) + 2, true) - slot.position.lastAvailIdx;
    return (ahead & 0xffff) > slot.size;
  }

  /** Is the next descriptor of a packed ring available? Asked of RAM: a disabled device itself must not look. */
  #isOffered(index: number): boolean {
    const slot = this.live.queue(index);
    if (slot === undefined) return false;
    const flags = this.ram.getUint16(Number(slot.desc) + 16 * slot.position.lastAvailIdx + 14, true);
    const wrap = slot.position.lastAvailWrap;
    const avail = (flags & DESC.AVAIL) !== 0;
    const used = (flags & DESC.USED) !== 0;
    return avail === wrap && used !== wrap;
  }

  /** Lists the rings that have another size now, or another format, than when they were set up. */
  #watchSizes(): void {
    const { live } = this;
    const packed = live.has(FEATURE.RING_PACKED);
    // QEMU has mapped the ring for the other format, and aborts when it writes there
    const reformed = packed !== this.#packed;
    this.#packed = packed;
    for (let index = 0; index < live.queueCount; index++) {
      const { size = 0, setups = 0, desc = 0n } = live.queue(index) ?? {};
      const before = this.#sizes[index];
      this.#sizes[index] = { size, setups };
      if (before?.setups !== setups) this.#resized.delete(index);
      else if (desc !== 0n && (reformed || before.size !== size)) this.#resized.add(index);
    }
  }

  #model(): DeviceModel {
    const { setup } = this;
    if (setup.device === 'blk') {
      return new BlkDevice({
        backend: this.#disk,
        queues: setup.queues,
        queueSize: setup.queueSize,
        serial: DISK_SERIAL,
        requestMerging: false,
      }) as DeviceModel;
    }
    return new NetDevice({
      backend: { send: () => true },
      mac: MAC,
      defer: (proceed) => this.#deferred.push(proceed),
    }) as DeviceModel;
  }
}

/** QEMU writes four bytes into the segment in front of the status, however short it is. */
function isShortScsi({ out, in: into }: Chain): boolean {
  if (out.count < 2 || into.count < 3 || into.length(into.count - 2) >= 4) return false;
  return (out.u32(0, true) & 0x7ffffffe) === 2;
}
