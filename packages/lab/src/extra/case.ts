import { captureRunningGuest, type RunningGuestOptions } from '../capture/running-guest.ts';
import { type Captured, type CaseNotes, captureStream } from '../capture.ts';
import { type Qemu, type QemuArch, type QemuBinary, type QemuOptions, withQemu } from '../qemu.ts';
import { QBOOT } from './parts.ts';

/** A stream of the corpus, and how it is made. */
export interface Extra {
  /** Name of the file, behind the version of the QEMU that makes it. */
  readonly name: string;
  /** Special property of the stream that others have not. */
  readonly special: string;
  readonly arch: QemuArch;
  /** Major and minor versions it is made with. */
  readonly versions: readonly string[];
  readonly make: (binary: QemuBinary) => Promise<Captured>;
}

/** A machine without a guest that we know. */
interface BareOptions extends Omit<QemuOptions, 'arch' | 'binary'> {
  readonly state?: string;
  readonly steps?: readonly string[];
  /** Runs while the machine does; it is stopped afterwards. Without it the machine never runs. */
  readonly run?: (vm: Qemu) => Promise<void>;
  readonly migrate?: CaseNotes['migrate'];
  readonly transfer?: CaseNotes['transfer'];
  readonly live?: boolean;
}

/** Makes the beginning of file names for a version of QEMU: `q72-`. */
export const prefix = (binary: QemuBinary): string => `q${binary.version.split('.').slice(0, 2).join('')}-`;

/** A machine without a guest, or with nothing but a firmware. */
export function bare(
  name: string,
  arch: QemuArch,
  versions: readonly string[],
  special: string,
  options: BareOptions,
): Extra {
  const { state, steps, run, migrate, transfer, live, ...start } = options;
  return {
    name,
    special,
    arch,
    versions,
    make: (binary) =>
      withQemu({ ...start, arch, binary, paused: run === undefined }, async (vm) => {
        if (run !== undefined) {
          await run(vm);
          if (live !== true) await vm.stop();
        }
        const guestState = state ?? 'reset: VM never ran (-S)';
        return captureStream(vm, {
          case: prefix(binary) + name,
          special,
          guestState,
          steps,
          migrate,
          transfer,
          live,
        });
      }),
  };
}

/** A machine with our Linux in it, stopped while the guest works. */
export function guest(
  name: string,
  arch: 'x86_64' | 's390x',
  versions: readonly string[],
  special: string,
  options: Omit<RunningGuestOptions, 'arch' | 'binary'>,
): Extra {
  return {
    name,
    special,
    arch,
    versions,
    make: (binary) => {
      const args = [
        ...(arch === 'x86_64' &&
        options.machine?.startsWith('microvm') !== true &&
        options.args?.includes('-bios') !== true
          ? QBOOT
          : []),
        ...(options.args ?? []),
      ];
      return captureRunningGuest({
        ...options,
        arch,
        binary,
        args: args.filter((arg) => arg !== ''),
        name: prefix(binary) + name,
        special,
      });
    },
  };
}
