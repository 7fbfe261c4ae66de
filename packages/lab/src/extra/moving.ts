import { createServer } from 'node:net';
import { join } from 'node:path';
import { type CaseNotes, captureStream } from '../capture.ts';
import { type Qemu, withQemu } from '../qemu.ts';
import { delay, isObject } from '../qmp.ts';
import { type Extra, prefix } from './case.ts';
import { PCI_PAIR } from './parts.ts';
import { runTiny, TINY, TINY_ARGS, TINY_STATE } from './tiny-firmware.ts';

export function live(
  name: string,
  versions: readonly string[],
  special: string,
  capabilities: readonly string[],
  parameters: NonNullable<CaseNotes['migrate']>['parameters'] = {},
): Extra {
  return {
    name,
    special,
    arch: 'x86_64',
    versions,
    make: (binary) =>
      withQemu(
        {
          arch: 'x86_64',
          binary,
          machine: 'pc',
          memoryMiB: 4,
          sharedMemory: false,
          files: TINY,
          args: [...TINY_ARGS, ...PCI_PAIR],
        },
        async (vm) => {
          await runTiny();
          let relaxed = false;
          return captureStream(vm, {
            case: prefix(binary) + name,
            special,
            guestState: TINY_STATE,
            live: true,
            steps: ['migrated while running, with little bandwidth at first'],
            migrate: {
              capabilities,
              parameters: { 'max-bandwidth': 100_000, 'downtime-limit': 1, ...parameters },
              whileActive: async (info) => {
                const ram = info['ram'];
                if (relaxed || !isObject(ram) || Number(ram['dirty-sync-count']) < 8) return;
                relaxed = true;
                await vm.qmp.execute('migrate-set-parameters', {
                  'max-bandwidth': 1 << 30,
                  'downtime-limit': 2000,
                });
              },
            },
          });
        },
      ),
  };
}

/** Migrates over a socket, to a destination that only ends the return path when nothing more comes. */
export function overSocket(capabilities: readonly string[]): (vm: Qemu) => Promise<Uint8Array> {
  return async (vm) => {
    const chunks: Buffer[] = [];
    const server = createServer((socket) => {
      let idle: NodeJS.Timeout | undefined;
      const shut = (): void => {
        socket.write(Buffer.from([0, 1, 0, 4, 0, 0, 0, 0])); // SHUT, 4 bytes, success
      };
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        clearTimeout(idle);
        idle = setTimeout(shut, 700);
      });
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(join(vm.dir, 'dest.sock'), resolve));
    try {
      await vm.setCapabilities(capabilities);
      await vm.qmp.execute('migrate', { uri: 'unix:dest.sock' });
      for (let n = 0; ; n++) {
        const info = await vm.qmp.execute('query-migrate');
        const status = isObject(info) ? info['status'] : undefined;
        if (status === 'completed') break;
        if (status === 'failed' || n > 400)
          throw new Error(`migration ${String(status)}: ${JSON.stringify(info)} ${vm.stderr}`);
        await delay(50);
      }
    } finally {
      server.close();
    }
    return Buffer.concat(chunks);
  };
}
