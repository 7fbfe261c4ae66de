import { type DeviceEvent, type DeviceHost, type Gpa, MappedMemory } from '@virtkit/core';
import { BlkDevice, type BlkState, memoryDisk } from '@virtkit/device-blk';
import { type Bar, PciFunction, type PciOptions } from '../src/index.ts';

const RAM_BYTES = 1 << 20;

/** A disk as a PCI function, and all that it says to its host. */
export interface Rig {
  readonly fn: PciFunction<BlkState>;
  readonly memory: MappedMemory;
  /** Changes of the INTx line. */
  readonly line: boolean[];
  readonly messages: (readonly [address: number, data: number])[];
  readonly moved: Bar[];
  readonly events: DeviceEvent[];
}

export interface RigOptions extends Partial<PciOptions> {
  readonly queues?: number;
  readonly writeCache?: boolean;
}

/** The other side of core: what a device type would call. */
const hosts = new WeakMap<PciFunction<BlkState>, DeviceHost>();

class HostedDisk extends BlkDevice {
  host: DeviceHost | undefined;
  override attach(host: DeviceHost): void {
    this.host = host;
    super.attach(host);
  }
}

function hostOf(fn: PciFunction<BlkState>): DeviceHost {
  const host = hosts.get(fn);
  if (host === undefined) throw new Error('no function of this rig');
  return host;
}

/** The device type interrupts for a queue, whose ring must be set up. */
export function interrupt(fn: PciFunction<BlkState>, queue: number): void {
  const ring = hostOf(fn).queue(queue);
  if (ring === undefined) throw new Error(`queue ${queue} is not set up`);
  ring.notify();
}

/** The device type says that its configuration has changed. */
export function changeConfig(fn: PciFunction<BlkState>): void {
  hostOf(fn).notifyConfig();
}

export function makeRig({ queues = 2, writeCache = true, ...options }: RigOptions = {}): Rig {
  const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(RAM_BYTES) }]);
  const [line, messages, moved, events] = [[], [], [], []] as unknown as [
    boolean[],
    [number, number][],
    Bar[],
    DeviceEvent[],
  ];
  const disk = new HostedDisk({ backend: memoryDisk(1 << 16), queues, queueSize: 16, writeCache });
  const fn = new PciFunction(disk, {
    memory,
    setIntx: (level) => line.push(level),
    sendMsi: (address, data) => messages.push([address, data]),
    onBarChange: (bar) => moved.push(bar),
    onEvent: (event) => events.push(event),
    ...options,
  });
  if (disk.host !== undefined) hosts.set(fn, disk.host);
  return { fn, memory, line, messages, moved, events };
}

export const COMMAND = 4;
export const ALL_ON = 7;

/** Offset of a capability: PCI id, and for virtio ones the type. */
export function capability(fn: PciFunction<BlkState>, id: number, type?: number): number {
  for (let at = fn.configRead(0x34, 1); at !== 0; at = fn.configRead(at + 1, 1)) {
    if (fn.configRead(at, 1) === id && (type === undefined || fn.configRead(at + 3, 1) === type)) return at;
  }
  return 0;
}

/** Switches MSI-X on (or masked as a whole, or off). */
export function setMsix(fn: PciFunction<BlkState>, control: number): void {
  fn.configWrite(capability(fn, 0x11) + 2, 2, control);
}

export const MSIX = { ENABLE: 0x8000, FUNCTION_MASK: 0x4000 } as const;

/** Writes an entry of the MSI-X table, unmasked. */
export function setEntry(fn: PciFunction<BlkState>, vector: number, address: number, data: number): void {
  fn.barWrite(1, 16 * vector, 4, address >>> 0);
  fn.barWrite(1, 16 * vector + 4, 4, Math.floor(address / 2 ** 32));
  fn.barWrite(1, 16 * vector + 8, 4, data);
  fn.barWrite(1, 16 * vector + 12, 4, 0);
}

/** Registers of the modern interface that tests write often. */
export const MODERN = {
  DRIVER_FEATURE_SELECT: 8,
  DRIVER_FEATURE: 12,
  CONFIG_VECTOR: 16,
  STATUS: 20,
  QUEUE_SELECT: 22,
  QUEUE_SIZE: 24,
  QUEUE_VECTOR: 26,
  QUEUE_ENABLE: 28,
  QUEUE_DESC: 32,
  QUEUE_AVAIL: 40,
  QUEUE_USED: 48,
  QUEUE_RESET: 58,
  NOTIFY: 0x3000,
} as const;

/** Where a test puts the rings of a queue. */
export function ringsOf(queue: number): { desc: number; avail: number; used: number } {
  const base = 0x10000 + 0x4000 * queue;
  return { desc: base, avail: base + 0x1000, used: base + 0x2000 };
}

/** VERSION_1 and nothing else; queues set up; DRIVER_OK. */
export function startModern(fn: PciFunction<BlkState>, queues: readonly number[] = [0]): void {
  fn.configWrite(COMMAND, 2, ALL_ON);
  const write = (offset: number, size: number, value: number): void => fn.barWrite(4, offset, size, value);
  write(MODERN.STATUS, 1, 0);
  write(MODERN.STATUS, 1, 3);
  write(MODERN.DRIVER_FEATURE_SELECT, 4, 1);
  write(MODERN.DRIVER_FEATURE, 4, 1);
  write(MODERN.STATUS, 1, 11);
  for (const queue of queues) {
    const { desc, avail, used } = ringsOf(queue);
    write(MODERN.QUEUE_SELECT, 2, queue);
    write(MODERN.QUEUE_SIZE, 2, 16);
    write(MODERN.QUEUE_DESC, 4, desc);
    write(MODERN.QUEUE_AVAIL, 4, avail);
    write(MODERN.QUEUE_USED, 4, used);
    write(MODERN.QUEUE_ENABLE, 2, 1);
  }
  write(MODERN.STATUS, 1, 15);
}

/** Puts a GET_ID request into a ring; the driver's index afterwards. */
export function offerRequest({ memory }: Rig, queue: number, avail: number = ringsOf(queue).avail): number {
  const { desc } = ringsOf(queue);
  const at = desc + 0x3000;
  const put = (gpa: number, value: number): void => {
    memory.writeU32(gpa as Gpa, value, true);
  };
  put(at, 8);
  for (const [i, address, length, flags, next] of [
    [0, at, 16, 1, 1],
    [1, at + 0x100, 20, 3, 2],
    [2, at + 0x200, 1, 2, 0],
  ] as const) {
    put(desc + 16 * i, address);
    put(desc + 16 * i + 8, length);
    memory.writeU16((desc + 16 * i + 12) as Gpa, flags, true);
    memory.writeU16((desc + 16 * i + 14) as Gpa, next, true);
  }
  const index = (memory.readU16((avail + 2) as Gpa, true) + 1) & 0xffff;
  memory.writeU16((avail + 4 + 2 * ((index - 1) % 16)) as Gpa, 0, true);
  memory.writeU16((avail + 2) as Gpa, index, true);
  return index;
}

/** Index of the used ring. */
export function usedIndex({ memory }: Rig, queue: number): number {
  return memory.readU16((ringsOf(queue).used + 2) as Gpa, true);
}
