import type { DeviceEvent } from '@virtkit/core';
import { type BlkBackend, BlkDevice } from '@virtkit/device-blk';
import { type NetBackend, NetDevice } from '@virtkit/device-net';
import { resumeV86, type V86Kit, V86Shell, v86Options, v86Snapshot } from '@virtkit/lab/v86.ts';
import { attach } from '@virtkit/v86';
import { V86 } from 'v86';

const DISK_SLOT = 3;
const CARD_SLOT = 4;

/** An emulator, and the shell on its serial line. */
export interface Machine {
  readonly emulator: V86;
  readonly shell: V86Shell;
}

export interface Card {
  readonly network: NetBackend;
  readonly mac: string;
}

/** A machine with our disk and our card in it, which has not been switched on. */
export async function makeMachine(
  kit: V86Kit,
  name: string,
  disk: BlkBackend,
  card: Card,
): Promise<Machine & { readonly blk: BlkDevice }> {
  const emulator = new V86(v86Options(kit));
  const blk = new BlkDevice({ backend: disk, serial: 'example' });
  const devices = [
    attach(emulator, blk, { slot: DISK_SLOT, onEvent: report(name) }),
    attach(emulator, new NetDevice({ backend: card.network, mac: card.mac }), {
      slot: CARD_SLOT,
      onEvent: report(name),
    }),
  ];
  await Promise.all(devices.map(({ ready }) => ready));
  return { emulator, shell: new V86Shell(emulator), blk };
}

/** A Linux that has booted some time ago, from a snapshot; our card is plugged in while it runs. */
export async function resumeMachine(kit: V86Kit, name: string, { network, mac }: Card): Promise<Machine> {
  const { emulator, shell } = await resumeV86(kit, await v86Snapshot(kit));
  await emulator.run();
  attach(emulator, new NetDevice({ backend: network, mac }), { slot: CARD_SLOT, onEvent: report(name) });
  await shell.run('echo 1 > /sys/bus/pci/rescan');
  return { emulator, shell };
}

const report =
  (machine: string) =>
  ({ name, device, reason }: DeviceEvent): void => {
    if (name === 'error' || name === 'fault') console.error(`${machine}: ${device}: ${name}: ${reason}`);
  };

/** Gives the instance back. */
export async function destroy({ emulator }: Machine): Promise<void> {
  if (emulator.is_running()) await emulator.stop();
  await emulator.destroy();
}
