/**
 * Takes migration streams from running virtual machines, together with what QEMU and the guest say about the virtio
 * devices at that moment, in the form the stream corpus (`../streams`) uses.
 */
import { asText, optional } from './capture/ask.ts';
import { readTruth } from './capture/truth.ts';
import type { Truth } from './capture/truth-types.ts';
import { type GuestKit, type GuestSysfsDevice, parseSysfsReport } from './guest.ts';
import { type MigrateOptions, type Qemu, type QemuBinary, withQemu } from './qemu.ts';

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
