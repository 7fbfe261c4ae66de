/** A Linux in QEMU with network cards, that does what it is told on its console. */

import type { LabLookup } from './capture/running-guest.ts';
import { buildInitramfs, kernelCommandLine } from './guest.ts';
import { Qemu } from './qemu.ts';

const WAIT_MS = 120_000;

/** A card. */
export interface GuestCard {
  /** Value of `-netdev` without its id: `stream,server=off,…`. */
  readonly netdev: string;
  /** Number of the card's network: it has the addresses `10.0.<net>.<host>/24` and `fd00:<net>::<host>/64`. */
  readonly net: number;
}

export interface NetGuestOptions {
  readonly lab: LabLookup & { readonly ok: true };
  /** Last byte of all its addresses, 1 to 99. */
  readonly host: number;
  readonly cards: readonly GuestCard[];
  /** Files in its root directory. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

export const ipv4Of = (net: number, host: number): string => `10.0.${net}.${host}`;
export const ipv6Of = (net: number, host: number): string => `fd00:${net}::${host.toString(16)}`;

/** Always `vm.close()` it. */
export class NetGuest {
  readonly vm: Qemu;
  #commands = 0;

  private constructor(vm: Qemu) {
    this.vm = vm;
  }

  /** Starts a QEMU; its Linux is not {@link ready} yet. */
  static async boot({ lab, host, cards, files }: NetGuestOptions): Promise<NetGuest> {
    const commands = cards.flatMap(({ net }, i) => [
      `echo 0 > /proc/sys/net/ipv6/conf/eth${i}/accept_dad`,
      `ip link set eth${i} up`,
      `ip addr add ${ipv4Of(net, host)}/24 dev eth${i}`,
      `ip addr add ${ipv6Of(net, host)}/64 dev eth${i}`,
    ]);
    const initramfs = buildInitramfs(lab.kit, {
      modules: ['virtio_pci', 'virtio_net'],
      disk: false,
      network: false,
      commands: ['ip link set lo up', ...commands],
      files,
      afterReady: ['while :; do sh; done'],
    });
    const mac = (i: number): string =>
      [0x52, 0x54, 0, 0, i, host].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    const vm = await Qemu.start({
      arch: 'x86_64',
      binary: lab.binary,
      machine: 'pc',
      sharedMemory: false,
      files: { initramfs },
      args: [
        ...['-kernel', lab.kit.kernelPath, '-initrd', 'initramfs', '-append', kernelCommandLine('x86_64')],
        ...cards.flatMap(({ netdev }, i) => [
          ...['-netdev', netdev.replace(',', `,id=n${i},`)],
          ...['-device', `virtio-net-pci,netdev=n${i},mac=${mac(i)},romfile=`],
        ]),
      ],
    });
    return new NetGuest(vm);
  }

  async ready(): Promise<this> {
    await this.vm.waitForConsole(/LAB:READY/, WAIT_MS);
    return this;
  }

  /** Runs a line in the guest's shell; answers what it printed. */
  async run(line: string): Promise<string> {
    const n = ++this.#commands;
    const from = this.vm.console.length;
    // split, so that the echo of the line is not taken for its end
    this.vm.writeConsole(`echo BE''GIN${n}; ${line}; echo EN''D${n}\n`);
    const pattern = new RegExp(`BEGIN${n}\\r?\\n([^]*)END${n}\\r?\\n`);
    const match = await this.vm.waitForConsole(pattern, WAIT_MS, from);
    return (match[1] ?? '').replaceAll('\r', '').trim();
  }

  /** The kernel's counters of packets that came and were wrong, as `Udp: InCsumErrors 1`: those that are not 0. */
  async wrongPackets(): Promise<string[]> {
    const suspicious = /InCsumErrors|InHdrErrors|ReasmFails|InErrors|InErrs|InTruncatedPkts/;
    const found: string[] = [];
    // two lines for each protocol: names, and values
    const lines = (await this.run('cat /proc/net/snmp')).split('\n');
    for (const [i, line] of lines.entries()) {
      const names = line.split(' ');
      const values = lines[i + 1]?.split(' ') ?? [];
      if (i % 2 === 1) continue;
      for (const [j, name] of names.entries())
        if (suspicious.test(name) && Number(values[j]) > 0) found.push(`${names[0]} ${name} ${values[j]}`);
    }
    for (const line of (await this.run('cat /proc/net/snmp6')).split('\n')) {
      const [name = '', value = ''] = line.split(/\s+/);
      if (suspicious.test(name) && Number(value) > 0) found.push(`${name} ${value}`);
    }
    return found;
  }
}
