/** Compares devices that are neither disk nor card with what QEMU said of them by commands of their own. */
import type { BalloonState, ConsoleState, MemState } from '@virtkit/device-states';
import type { Truth } from '@virtkit/lab';
import type { DecodedVirtio } from '../src/index.ts';
import { type Difference, differs } from './truth.ts';

const PAGE_BYTES = 4096;

interface Info {
  readonly truth: Truth;
  readonly command_line?: readonly string[];
}

/** Everything in which the devices and the truth differ. Streams made before these were asked have no truth of them. */
export function compareOthers(devices: readonly DecodedVirtio[], info: Info): Difference[] {
  const stateOf = <T>(name: string): T | undefined =>
    devices.find(({ device }) => device.name === name)?.state.device as T | undefined;
  return [
    ...compareBalloon(stateOf('virtio-balloon'), info),
    ...compareMemory(stateOf('virtio-mem'), info.truth),
    ...comparePorts(stateOf('virtio-console'), info.truth),
  ];
}

/** QEMU says how much is left of the guest's memory. */
function compareBalloon(state: BalloonState | undefined, { truth, command_line = [] }: Info): Difference[] {
  const answer = truth['query-balloon'] as { readonly actual: number } | undefined;
  if (answer === undefined) return [];
  const memory = /memory-backend-file,[^ ]*size=(\d+)M/.exec(command_line.join(' '))?.[1];
  const left = Number(memory) * 2 ** 20 - (state?.actual ?? 0) * PAGE_BYTES;
  return differs('query-balloon actual', answer.actual, left);
}

function compareMemory(state: MemState | undefined, truth: Truth): Difference[] {
  const devices = (truth['query-memory-devices'] ?? []) as unknown as readonly {
    readonly type: string;
    readonly data: Readonly<Record<string, number>>;
  }[];
  const [answer] = devices.filter(({ type }) => type === 'virtio-mem').map(({ data }) => data);
  if (answer === undefined) return [];
  const plugged = (state?.bitmap ?? []).reduce((sum, word) => sum + bitCount(word), 0);
  return [
    ...differs('virtio-mem requested-size', answer['requested-size'], Number(state?.requestedSize)),
    // of newer machines the rest is in a section of its own
    ...(state?.addr === undefined
      ? []
      : [
          ...differs('virtio-mem memaddr', answer['memaddr'], Number(state.addr)),
          ...differs('virtio-mem max-size', answer['max-size'], Number(state.regionSize)),
          ...differs('virtio-mem block-size', answer['block-size'], Number(state.blockSize)),
          ...differs('virtio-mem node', answer['node'], state.node),
          ...differs('virtio-mem size', answer['size'], Number(state.size)),
          ...differs('virtio-mem bitmap', answer['size'], plugged * Number(state.blockSize)),
        ]),
  ];
}

function bitCount(word: bigint): number {
  let count = 0;
  for (let left = word; left !== 0n; left &= left - 1n) count++;
  return count;
}

function comparePorts(state: ConsoleState | undefined, truth: Truth): Difference[] {
  if (truth.serial_ports === undefined) return [];
  const byNumber = (a: { readonly port: number }, b: { readonly port: number }): number => a.port - b.port;
  const found = (state?.ports ?? []).map(({ id, guestConnected, hostConnected, buffer }) => ({
    port: id,
    guest: guestConnected !== 0,
    host: hostConnected !== 0,
    throttle: buffer !== null,
  }));
  return differs('info qtree ports', [...truth.serial_ports].sort(byNumber), found.sort(byNumber));
}
