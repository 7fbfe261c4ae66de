/**
 * Takes migration streams from running virtual machines, together with what QEMU and the guest say about the virtio
 * devices at that moment, in the form the stream corpus (`../streams`) uses.
 */
import { readFileSync } from 'node:fs';
import {
  buildInitramfs,
  DEFAULT_MODULES,
  findGuestKit,
  type GuestArch,
  type GuestKit,
  type GuestProgram,
  type GuestSysfsDevice,
  kernelCommandLine,
  parseSysfsReport,
} from './guest.ts';
import {
  compareVersions,
  findQemu,
  type MigrateOptions,
  type Qemu,
  type QemuArch,
  type QemuBinary,
  type QemuOptions,
  withQemu,
} from './qemu.ts';
import { delay, isObject, type JsonObject, type JsonValue, QmpError } from './qmp.ts';

/** `x-query-virtio-status`. Features and status bits are QEMU's texts, `NAME: explanation`. */
export interface VirtioStatus {
  readonly name: string;
  readonly 'device-id': number;
  readonly 'device-endian': 'little' | 'big' | 'unspecified' | 'unknown';
  readonly isr: number;
  readonly 'queue-sel': number;
  readonly 'num-vqs': number;
  readonly started: boolean;
  readonly broken: boolean;
  readonly disabled: boolean;
  readonly 'vm-running': boolean;
  readonly status: { readonly statuses: readonly string[]; readonly 'unknown-statuses'?: number };
  readonly 'guest-features': VirtioFeatures;
  readonly 'host-features': VirtioFeatures;
  readonly [key: string]: unknown;
}

export interface VirtioFeatures {
  readonly transports: readonly string[];
  readonly 'dev-features'?: readonly string[];
  /** A number, or a decimal string when a double cannot hold it. */
  readonly 'unknown-dev-features'?: number | string;
}

/** Index fields of a split ring, read from guest memory. */
export interface SplitRing {
  readonly 'avail-flags': number;
  readonly 'avail-idx': number;
  readonly 'used-flags': number;
  readonly 'used-idx': number;
  readonly 'used-event': number;
  readonly 'avail-event': number;
}

/**
 * `x-query-virtio-queue-status`, the ring, and `x-query-virtio-queue-element`. The element is the one at the last available
 * index, absent when nothing is there. Numbers that a double cannot hold are decimal strings.
 */
export interface VirtioQueueTruth {
  readonly name: string;
  readonly 'queue-index': number;
  readonly inuse: number;
  readonly 'vring-num': number;
  readonly 'vring-num-default': number;
  readonly 'vring-align': number;
  readonly 'vring-desc': number;
  readonly 'vring-avail': number;
  readonly 'vring-used': number;
  readonly 'used-idx': number;
  readonly 'signalled-used': number;
  readonly 'signalled-used-valid': boolean;
  /** Absent when the queue belongs to vhost. */
  readonly 'last-avail-idx'?: number;
  readonly 'shadow-avail-idx'?: number;
  readonly ring?: SplitRing;
  readonly 'element-at-last-avail'?: JsonObject;
}

export interface VirtioDeviceTruth {
  readonly path: string;
  readonly name: string;
  /** Absent from QEMU 10.2 on: the query kills some of these versions. */
  readonly status?: VirtioStatus;
  readonly queues: readonly VirtioQueueTruth[];
}

/** A block request that was taken from its ring and not returned. */
export interface InflightRequest {
  readonly head: number;
  readonly 'avail-pos': number;
  readonly indirect: boolean;
  readonly descs: readonly { readonly addr: number; readonly len: number; readonly write: boolean }[];
  readonly hdr?: { readonly type: number; readonly ioprio: number; readonly sector: number };
}

export interface InflightQueue {
  readonly device: string;
  readonly queue: number;
  readonly inuse: number;
  readonly requests: readonly InflightRequest[];
}

/** A port of a virtio-serial device, as `info qtree` has it. */
export interface SerialPortTruth {
  readonly port: number;
  readonly guest: boolean;
  readonly host: boolean;
  /** The host's end takes no more: a buffer may be half written. */
  readonly throttle: boolean;
}

export interface Truth {
  readonly 'query-status': JsonValue;
  readonly 'query-version': JsonValue;
  readonly virtio: readonly VirtioDeviceTruth[];
  readonly 'query-rx-filter'?: JsonValue;
  readonly 'query-block'?: JsonValue;
  readonly blk_inflight?: readonly InflightQueue[];
  readonly 'query-balloon'?: JsonValue;
  readonly 'query-memory-devices'?: JsonValue;
  readonly serial_ports?: readonly SerialPortTruth[];
}

/** Contents of a corpus JSON file as this module makes them. */
export interface CaseInfo {
  readonly case: string;
  readonly special: string;
  readonly machine: string;
  readonly arch: string;
  readonly command_line: readonly string[];
  readonly guest_kernel: string | null;
  readonly guest_modules: readonly string[] | null;
  readonly qemu_version: string;
  readonly qemu_package: string;
  readonly guest_driver_state: string;
  readonly guest_sysfs: readonly GuestSysfsDevice[];
  readonly steps: readonly string[];
  readonly capabilities: readonly string[];
  readonly x_ignore_shared: boolean;
  readonly stream_size: number;
  readonly truth_read: string;
  readonly truth: Truth;
}

export interface Captured {
  readonly stream: Uint8Array;
  readonly truth: Truth;
  readonly info: CaseInfo;
}

const asText = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');

/** Runs a command; `undefined` when QEMU refuses it. */
async function optional(vm: Qemu, command: string, args: JsonObject = {}): Promise<JsonValue | undefined> {
  try {
    return await vm.qmp.execute(command, args);
  } catch (error) {
    if (error instanceof QmpError) return undefined;
    throw error;
  }
}

async function readSplitRing(
  vm: Qemu,
  queue: VirtioQueueTruth,
  littleEndian: boolean,
): Promise<SplitRing | undefined> {
  const num = queue['vring-num'];
  const [avail, used] = [queue['vring-avail'], queue['vring-used']];
  if (!vm.sharedMemory || queue['vring-desc'] === 0 || avail === 0 || used === 0 || num === 0)
    return undefined;
  try {
    const availBytes = new DataView((await vm.readMemory(avail, 6 + 2 * num)).buffer);
    const usedBytes = new DataView((await vm.readMemory(used, 6 + 8 * num)).buffer);
    return {
      'avail-flags': availBytes.getUint16(0, littleEndian),
      'avail-idx': availBytes.getUint16(2, littleEndian),
      'used-flags': usedBytes.getUint16(0, littleEndian),
      'used-idx': usedBytes.getUint16(2, littleEndian),
      'used-event': availBytes.getUint16(4 + 2 * num, littleEndian),
      'avail-event': usedBytes.getUint16(4 + 8 * num, littleEndian),
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined; // a vIOMMU translates the addresses
    throw error;
  }
}

interface RingKind {
  readonly packed: boolean;
  readonly littleEndian: boolean;
}

function ringKind(
  arch: QemuArch,
  status: VirtioStatus | undefined,
  sysfs: GuestSysfsDevice | undefined,
): RingKind {
  if (status !== undefined) {
    const negotiated = (name: string): boolean =>
      status['guest-features'].transports.some((text) => text.startsWith(`${name}:`));
    return {
      packed: negotiated('VIRTIO_F_RING_PACKED'),
      littleEndian: negotiated('VIRTIO_F_VERSION_1') || status['device-endian'] !== 'big',
    };
  }
  const features = sysfs?.features_bit0_first ?? '';
  const bigEndianGuest = arch === 's390x' || arch === 'm68k';
  return { packed: features[34] === '1', littleEndian: features[32] === '1' || !bigEndianGuest };
}

/** Queue indices to ask about: all that exist. A device may have gaps. */
async function readQueues(vm: Qemu, path: string, count: number | undefined): Promise<VirtioQueueTruth[]> {
  const queues: VirtioQueueTruth[] = [];
  for (
    let index = 0;
    index < 1024 &&
    (count === undefined || queues.length < count) &&
    index < (queues.at(-1)?.['queue-index'] ?? 0) + 40;
    index++
  ) {
    const answer = await optional(vm, 'x-query-virtio-queue-status', { path, queue: index });
    if (isObject(answer)) queues.push(answer as unknown as VirtioQueueTruth);
  }
  return queues;
}

const DEVICE_IDS: Readonly<Record<string, string>> = { 'virtio-net': '0x0001', 'virtio-blk': '0x0002' };

/**
 * Asks QEMU about all virtio devices; the virtual machine must stand. `sysfs` (what the guest reported) supplies the
 * negotiated features where QEMU cannot be asked for them.
 */
export async function readVirtio(
  vm: Qemu,
  sysfs: readonly GuestSysfsDevice[] = [],
): Promise<VirtioDeviceTruth[]> {
  const devices = await optional(vm, 'x-query-virtio');
  if (!Array.isArray(devices)) return [];
  const truths: VirtioDeviceTruth[] = [];
  for (const device of devices) {
    if (!isObject(device)) continue;
    const path = asText(device['path']);
    const name = asText(device['name']);
    const canAsk = compareVersions(vm.binary.version, '10.2') < 0;
    const answer = canAsk ? await optional(vm, 'x-query-virtio-status', { path }) : undefined;
    const status = isObject(answer) ? (answer as unknown as VirtioStatus) : undefined;
    const kind = ringKind(
      vm.binary.arch,
      status,
      sysfs.find((entry) => entry.device === DEVICE_IDS[name]),
    );
    const queues: VirtioQueueTruth[] = [];
    for (const queue of await readQueues(vm, path, undefined)) {
      const live = !kind.packed && queue['vring-desc'] !== 0;
      const ring = live ? await readSplitRing(vm, queue, kind.littleEndian) : undefined;
      // Asking for an element that is not there makes QEMU follow a stale descriptor, which can break the device.
      const pending = ring !== undefined && ring['avail-idx'] !== queue['last-avail-idx'];
      const element = pending
        ? await optional(vm, 'x-query-virtio-queue-element', { path, queue: queue['queue-index'] })
        : undefined;
      queues.push({
        ...queue,
        ...(ring === undefined ? {} : { ring }),
        ...(isObject(element) ? { 'element-at-last-avail': element } : {}),
      });
    }
    truths.push({ path, name, ...(status === undefined ? {} : { status }), queues });
  }
  return truths;
}

/**
 * Works out from the rings in guest memory which block requests the device holds. Only for split rings in little-endian
 * layout that have not yet gone round, which is what a freshly started guest has.
 */
export async function readBlockInflight(
  vm: Qemu,
  devices: readonly VirtioDeviceTruth[],
): Promise<InflightQueue[]> {
  const result: InflightQueue[] = [];
  for (const device of devices) {
    if (device.name !== 'virtio-blk') continue;
    for (const queue of device.queues) {
      if (queue.ring === undefined || queue.inuse === 0) continue;
      const lastAvail = queue['last-avail-idx'] ?? 0;
      if (lastAvail > queue['vring-num']) continue;
      const avail = new DataView(
        (await vm.readMemory(queue['vring-avail'], 4 + 2 * queue['vring-num'])).buffer,
      );
      const used = new DataView(
        (await vm.readMemory(queue['vring-used'], 4 + 8 * queue['vring-num'])).buffer,
      );
      const held = new Map<number, number>();
      const returned: number[] = [];
      for (let i = 0; i < queue['used-idx']; i++) returned.push(used.getUint32(4 + 8 * i, true));
      for (let i = 0; i < lastAvail; i++) {
        const head = avail.getUint16(4 + 2 * i, true);
        const at = returned.indexOf(head);
        if (at >= 0) returned.splice(at, 1);
        else held.set(head, i);
      }
      const requests: InflightRequest[] = [];
      for (const [head, position] of held) requests.push(await readRequest(vm, queue, head, position));
      result.push({ device: device.path, queue: queue['queue-index'], inuse: queue.inuse, requests });
    }
  }
  return result;
}

async function readRequest(
  vm: Qemu,
  queue: VirtioQueueTruth,
  head: number,
  position: number,
): Promise<InflightRequest> {
  const readDescriptor = async (
    table: number,
    index: number,
  ): Promise<{ addr: number; len: number; flags: number; next: number }> => {
    const view = new DataView((await vm.readMemory(table + 16 * index, 16)).buffer);
    return {
      addr: Number(view.getBigUint64(0, true)),
      len: view.getUint32(8, true),
      flags: view.getUint16(12, true),
      next: view.getUint16(14, true),
    };
  };
  let table = queue['vring-desc'];
  let descriptor = await readDescriptor(table, head);
  const indirect = (descriptor.flags & 4) !== 0;
  if (indirect) {
    table = descriptor.addr;
    descriptor = await readDescriptor(table, 0);
  }
  const descs: InflightRequest['descs'][number][] = [];
  for (;;) {
    descs.push({ addr: descriptor.addr, len: descriptor.len, write: (descriptor.flags & 2) !== 0 });
    if ((descriptor.flags & 1) === 0 || descs.length > 1024) break;
    descriptor = await readDescriptor(table, descriptor.next);
  }
  const first = descs[0];
  const request = { head, 'avail-pos': position, indirect, descs };
  if (first === undefined || first.write || first.len < 16) return request;
  const header = new DataView((await vm.readMemory(first.addr, 16)).buffer);
  return {
    ...request,
    hdr: {
      type: header.getUint32(0, true),
      ioprio: header.getUint32(4, true),
      sector: Number(header.getBigUint64(8, true)),
    },
  };
}

async function readSerialPorts(vm: Qemu): Promise<SerialPortTruth[]> {
  const lines = (await vm.hmp('info qtree')).matchAll(
    /port (\d+), guest (on|off), host (on|off), throttle (on|off)/g,
  );
  return Array.from(lines, ([, port, guest, host, throttle]) => ({
    port: Number(port),
    guest: guest === 'on',
    host: host === 'on',
    throttle: throttle === 'on',
  }));
}

/** What QEMU says of devices that are neither disk nor card. */
async function readOthers(
  vm: Qemu,
): Promise<Pick<Truth, 'query-balloon' | 'query-memory-devices' | 'serial_ports'>> {
  const balloon = await optional(vm, 'query-balloon');
  const memory = await optional(vm, 'query-memory-devices');
  const ports = await readSerialPorts(vm);
  return {
    ...(balloon === undefined ? {} : { 'query-balloon': balloon }),
    ...(Array.isArray(memory) && memory.length > 0 ? { 'query-memory-devices': memory } : {}),
    ...(ports.length === 0 ? {} : { serial_ports: ports }),
  };
}

/** Reads everything {@link Truth} has; the virtual machine must stand. */
export async function readTruth(vm: Qemu, sysfs: readonly GuestSysfsDevice[] = []): Promise<Truth> {
  const complaints = vm.stderr;
  const virtio = await readVirtio(vm, sysfs);
  const filter = await optional(vm, 'query-rx-filter');
  const block = await optional(vm, 'query-block');
  const inflight = await readBlockInflight(vm, virtio);
  const others = await readOthers(vm);
  if (vm.stderr !== complaints)
    throw new Error(`the queries disturbed QEMU: ${vm.stderr.slice(complaints.length)}`);
  return {
    'query-status': await vm.qmp.execute('query-status'),
    'query-version': await vm.qmp.execute('query-version'),
    virtio,
    ...(filter === undefined ? {} : { 'query-rx-filter': filter }),
    ...(block === undefined ? {} : { 'query-block': block }),
    ...(inflight.length === 0 ? {} : { blk_inflight: inflight }),
    ...others,
  };
}

export interface CaseNotes {
  readonly case: string;
  readonly special: string;
  readonly guestState: string;
  readonly kit?: GuestKit | undefined;
  readonly modules?: readonly string[] | undefined;
  readonly steps?: readonly string[] | undefined;
  readonly migrate?: MigrateOptions | undefined;
  /** Makes the stream in place of `Qemu.migrate`. */
  readonly transfer?: ((vm: Qemu) => Promise<Uint8Array>) | undefined;
  /** Do not stop the virtual machine before the migration; the truth is then read after it. */
  readonly live?: boolean | undefined;
}

/** Reads the truth of a standing virtual machine, then migrates it (or the other way round, for a live migration). */
export async function captureStream(vm: Qemu, notes: CaseNotes): Promise<Captured> {
  const sysfs = parseSysfsReport(vm.console);
  const migrate = (): Promise<Uint8Array> =>
    notes.transfer === undefined ? vm.migrate(notes.migrate) : notes.transfer(vm);
  const early = notes.live === true ? undefined : await readTruth(vm, sysfs);
  const stream = await migrate();
  const truth = early ?? (await readTruth(vm, sysfs));
  const capabilities = notes.migrate?.capabilities ?? (vm.sharedMemory ? ['x-ignore-shared'] : []);
  const info: CaseInfo = {
    case: notes.case,
    special: notes.special,
    machine: asText(await optional(vm, 'qom-get', { path: '/machine', property: 'type' })).replace(
      /-machine$/,
      '',
    ),
    arch: vm.binary.arch === 'x86_64' ? 'x86' : vm.binary.arch === 's390x' ? 's390' : vm.binary.arch,
    command_line: vm.commandLine,
    guest_kernel: notes.kit === undefined ? null : `Debian linux ${notes.kit.kernelRelease}`,
    guest_modules: notes.modules ?? null,
    qemu_version: vm.binary.version,
    qemu_package: vm.binary.package,
    guest_driver_state: notes.guestState,
    guest_sysfs: sysfs,
    steps: notes.steps ?? [],
    capabilities,
    x_ignore_shared: capabilities.includes('x-ignore-shared'),
    stream_size: stream.length,
    truth_read: early === undefined ? 'after the migration' : 'before the migration, VM stopped',
    truth,
  };
  return { stream, truth, info };
}

export type Reloaded =
  | { readonly ok: true; readonly stream: Uint8Array; readonly truth: Truth }
  | { readonly ok: false; readonly error: string };

/**
 * Loads a stream into a second QEMU with the configuration, RAM and disks of `vm`, which must stand, and gives what that one
 * says about the devices and the stream it makes of them. A refused stream is a result, not an exception.
 */
export async function reloadStream(
  vm: Qemu,
  stream: Uint8Array,
  options: { readonly binary?: QemuBinary } = {},
): Promise<Reloaded> {
  const start = {
    ...vm.options,
    binary: options.binary ?? vm.binary,
    incoming: true,
    paused: true,
    copyOf: vm,
  };
  return withQemu(start, async (destination) => {
    const result = await destination.load(stream);
    if (!result.ok) return result;
    const truth = await readTruth(destination, parseSysfsReport(vm.console));
    return { ok: true, truth, stream: await destination.migrate() };
  });
}

export type LabLookup =
  | { readonly ok: true; readonly binary: QemuBinary; readonly kit: GuestKit }
  | { readonly ok: false; readonly reason: string };

/**
 * Whether {@link captureRunningGuest} can run here; otherwise the reason, for a test to skip with. QEMUs before 7.2 have no
 * `x-query-virtio`: of them, the truth has no virtio devices.
 */
export function findLab(arch: GuestArch, root?: string): LabLookup {
  const binary = findQemu(arch, { root });
  if (binary === undefined) return { ok: false, reason: `qemu-system-${arch} not found` };
  const lookup = findGuestKit(arch);
  return lookup.ok ? { ok: true, binary, kit: lookup.kit } : lookup;
}

export interface RunningGuestOptions {
  readonly arch: GuestArch;
  /** Value of `-M`. Default `pc` (x86_64) or `s390-ccw-virtio`. `microvm…` gives virtio-mmio devices. */
  readonly machine?: string | undefined;
  /** Further properties of the disk (`packed=on,num-queues=2`). */
  readonly blk?: string | undefined;
  /** Further properties of the network device. */
  readonly net?: string | undefined;
  /** Block node for the disk in place of the plain one: `-blockdev` arguments that define a node `d0` over `disk.img`. */
  readonly blockdev?: readonly string[] | undefined;
  /** Value of `-netdev` in place of `user,id=n0,restrict=on`; must have `id=n0`. */
  readonly netdev?: string | undefined;
  /** More QEMU arguments, put before the devices. */
  readonly args?: readonly string[] | undefined;
  readonly memoryMiB?: number | undefined;
  /** More files for QEMU's working directory. */
  readonly files?: QemuOptions['files'];
  readonly guest?: GuestProgram | undefined;
  readonly kernelArgs?: string | undefined;
  /** How to know that the guest does what it should. Default: its loads have made progress. */
  readonly until?: ((vm: Qemu) => Promise<void>) | undefined;
  /** Migrate while the guest runs. */
  readonly live?: boolean | undefined;
  readonly migrate?: MigrateOptions | undefined;
  readonly transfer?: ((vm: Qemu) => Promise<Uint8Array>) | undefined;
  readonly sharedMemory?: boolean | undefined;
  readonly binary?: QemuBinary | undefined;
  /** Runs after the capture, while the virtual machine still stands: e.g. {@link reloadStream}. */
  readonly afterCapture?: ((vm: Qemu, captured: Captured) => Promise<void>) | undefined;
  readonly name?: string | undefined;
  readonly special?: string | undefined;
  readonly guestState?: string | undefined;
  /** For the record: what was done. */
  readonly steps?: readonly string[] | undefined;
  /** For the boot until the loads run. Default 3 minutes. */
  readonly timeoutMs?: number | undefined;
}

const DISK_BYTES = 64 * 1024 * 1024;

function transportOf(arch: GuestArch, machine: string): { suffix: string; modules: readonly string[] } {
  if (arch === 's390x') return { suffix: 'ccw', modules: [] }; // the driver is built into the kernel
  if (machine.startsWith('microvm')) return { suffix: 'device', modules: ['virtio_mmio'] };
  return { suffix: 'pci', modules: ['virtio_pci'] };
}

async function untilLoaded(vm: Qemu, program: GuestProgram, timeoutMs: number): Promise<void> {
  const started = Date.now();
  const left = (): number => Math.max(1000, timeoutMs - (Date.now() - started));
  await vm.waitForConsole(/LAB:READY/, left());
  if (program.network ?? true) await vm.waitForConsole(/LAB:NET/, left());
  if (program.disk ?? true) await vm.waitForConsole(/LAB:DISK [2-9]/, left());
  await delay(200);
}

/**
 * Boots a Linux guest with one virtio-blk and one virtio-net device, waits until it reads and writes the disk and floods
 * the network, stops it, and returns the migration stream (without guest RAM) and the truth about both devices.
 *
 * Needs what {@link findLab} finds; throws otherwise. Takes 10 to 30 seconds. No process is left behind.
 *
 * ```ts
 * const { stream, truth } = await captureRunningGuest({ arch: 'x86_64', machine: 'q35', blk: 'packed=on' });
 * ```
 */
export async function captureRunningGuest(options: RunningGuestOptions): Promise<Captured> {
  const { arch } = options;
  const lookup = findGuestKit(arch);
  if (!lookup.ok) throw new Error(lookup.reason);
  const { kit } = lookup;
  const machine = options.machine ?? (arch === 's390x' ? 's390-ccw-virtio' : 'pc');
  const transport = transportOf(arch, machine);
  const program: GuestProgram = {
    ...options.guest,
    modules: [...transport.modules, ...(options.guest?.modules ?? DEFAULT_MODULES)],
  };
  const more = (properties: string | undefined): string =>
    properties === undefined || properties === '' ? '' : `,${properties}`;
  const noRom = transport.suffix === 'pci' ? ',romfile=' : '';
  const vmOptions = {
    arch,
    binary: options.binary,
    machine,
    memoryMiB: options.memoryMiB,
    sharedMemory: options.sharedMemory,
    files: {
      vmlinuz: readFileSync(kit.kernelPath),
      'initrd.gz': buildInitramfs(kit, program),
      'disk.img': DISK_BYTES,
      ...options.files,
    },
    args: [
      '-kernel',
      'vmlinuz',
      '-initrd',
      'initrd.gz',
      '-append',
      `${kernelCommandLine(arch)}${options.kernelArgs === undefined ? '' : ` ${options.kernelArgs}`}`,
      ...(options.args ?? []),
      ...(options.blockdev ?? ['-blockdev', 'driver=file,filename=disk.img,node-name=d0']),
      '-device',
      `virtio-blk-${transport.suffix},drive=d0,id=blk0${more(options.blk)}`,
      '-netdev',
      options.netdev ?? 'user,id=n0,restrict=on',
      '-device',
      `virtio-net-${transport.suffix},netdev=n0,id=net0,mac=52:54:00:12:34:56${noRom}${more(options.net)}`,
    ],
  };
  return withQemu(vmOptions, async (vm) => {
    await (
      options.until ??
      ((machineUnderTest) => untilLoaded(machineUnderTest, program, options.timeoutMs ?? 180_000))
    )(vm);
    if (options.live !== true) await vm.stop();
    const captured = await captureStream(vm, {
      case: options.name ?? `${arch}-${machine}-io`,
      special: options.special ?? '',
      guestState:
        options.guestState ??
        'driver bound; dd read/write loop on the disk, ping and UDP flood on the net when the VM was stopped',
      kit,
      modules: program.modules,
      migrate: options.migrate,
      transfer: options.transfer,
      steps: options.steps,
      live: options.live,
    });
    await options.afterCapture?.(vm, captured);
    return captured;
  });
}
