import { readFileSync } from 'node:fs';
import { type Captured, captureStream } from '../capture.ts';
import {
  buildInitramfs,
  DEFAULT_MODULES,
  findGuestKit,
  type GuestArch,
  type GuestKit,
  type GuestProgram,
  kernelCommandLine,
} from '../guest.ts';
import {
  findQemu,
  type MigrateOptions,
  type Qemu,
  type QemuBinary,
  type QemuOptions,
  withQemu,
} from '../qemu.ts';
import { delay } from '../qmp.ts';

export type LabLookup =
  | { readonly ok: true; readonly binary: QemuBinary; readonly kit: GuestKit }
  | { readonly ok: false; readonly reason: string };

/**
 * Finds what {@link captureRunningGuest} needs; otherwise the reason why it cannot run here, for a test to skip with.
 * QEMUs before 7.2 have no `x-query-virtio`: of them, the truth has no virtio devices.
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
  /** Waits until the guest does what it should. Default: until its loads have made progress. */
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
  /** Sentences about what was done, for the record. */
  readonly steps?: readonly string[] | undefined;
  /** Milliseconds for the boot until the loads run. Default 3 minutes. */
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
  return withQemu(machineOf(options, kit, machine, transport.suffix, program), async (vm) => {
    if (options.until !== undefined) await options.until(vm);
    else await untilLoaded(vm, program, options.timeoutMs ?? 180_000);
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

/** The QEMU for a guest with a disk and a network card. */
function machineOf(
  options: RunningGuestOptions,
  kit: GuestKit,
  machine: string,
  suffix: string,
  program: GuestProgram,
): QemuOptions {
  const { arch, kernelArgs, args = [], blockdev, netdev = 'user,id=n0,restrict=on', blk, net } = options;
  const more = (properties = ''): string => (properties === '' ? '' : `,${properties}`);
  const noRom = suffix === 'pci' ? ',romfile=' : '';
  return {
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
      ...['-kernel', 'vmlinuz', '-initrd', 'initrd.gz'],
      ...['-append', `${kernelCommandLine(arch)}${kernelArgs === undefined ? '' : ` ${kernelArgs}`}`],
      ...args,
      ...(blockdev ?? ['-blockdev', 'driver=file,filename=disk.img,node-name=d0']),
      ...['-device', `virtio-blk-${suffix},drive=d0,id=blk0${more(blk)}`],
      ...['-netdev', netdev],
      ...['-device', `virtio-net-${suffix},netdev=n0,id=net0,mac=52:54:00:12:34:56${noRom}${more(net)}`],
    ],
  };
}
