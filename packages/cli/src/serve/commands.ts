import type { Command } from 'commander';
import type { Terminal } from '../live/commands.ts';
import type { ServeOptions } from './options.ts';

/** Adds `serve`: devices in machines of other programs. */
export function addServeCommand(program: Command, terminal: Terminal): void {
  program
    .command('serve')
    .argument(
      '<device>',
      'blk, net, rng, console, or a module whose default export is a device, or a function that makes one: ./my-device.ts',
    )
    .requiredOption('--socket <path>', 'UNIX socket where QEMU finds the device (vhost-user)')
    .option(
      '--vfio-user',
      'as a whole PCI function, for QEMU 10.1 and newer: vfio-user instead of vhost-user',
    )
    .option('--client', 'connect to that socket, where QEMU listens (server=on)')
    .option(
      '--disk <image>',
      'blk: a raw image, a block device, the URL of an image on a web server, or an NBD server (nbd://, nbds://, nbd+unix://)',
    )
    .option('--read-only', 'blk: the guest cannot write')
    .option('--serial <text>', 'blk: serial number, 20 characters at most')
    .option('--queues <number>', 'blk: request queues; net: pairs of queues', '1')
    .option(
      '--connect <address>',
      'net: a switch or QEMU that listens (-netdev stream,server=on): tcp:HOST:PORT or unix:PATH',
    )
    .option('--listen <address>', 'net: where a QEMU connects to (-netdev stream)')
    .option('--mac <address>', 'net: 52:54:00:12:34:56')
    .option(
      '--fault <faults>',
      "misbehave on purpose: 'delay=50ms@10%; error:write@3; lost-interrupt@*7; seed=42'; README of @virtkit/testing: Faults",
    )
    .option('--stats <seconds>', 'tell every so often what the queues have done')
    .option('--json', 'say also the words for other programs as a JSON line; events always are')
    .description(
      'serve a device to QEMU, libvirt or Cloud Hypervisor, until it is ended by SIGINT or SIGTERM',
    )
    .action(async (device: string, options: ServeOptions) => {
      const { serve } = await import('./serve.ts');
      await serve(terminal, device, options);
    });
}
