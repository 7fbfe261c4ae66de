// Machines as people start them, with all that QEMU adds by itself: a real one's own stream loads with its own command line.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { findQemu, type QemuArch, type QemuBinary } from '@virtkit/lab';
import { acceptVirtio, parseStream, type Registry } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkStream, parseTarget } from '../src/index.ts';

const registry: Registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };

let home = '';
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'virtkit-defaults-'));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** The stream of a machine that never ran; undefined where a part of QEMU is not installed. */
async function streamOf(
  { command, env }: QemuBinary,
  args: readonly string[],
): Promise<Uint8Array | undefined> {
  const [program = '', ...words] = command;
  const file = join(home, 'stream');
  const own = ['-S', '-display', 'none', '-serial', 'none', '-monitor', 'none', '-qmp', 'stdio'];
  const qemu = spawn(program, [...words, ...args, ...own], { env: { ...process.env, ...env } });
  const closed = new Promise((resolve) => qemu.once('close', resolve));
  let [output, errors] = ['', ''];
  qemu.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  // A QEMU that refuses its command line closes the pipe; its words are on standard error.
  qemu.stdin.on('error', () => {});
  const say = (execute: string, words: object = {}): void =>
    void qemu.stdin.write(`${JSON.stringify({ execute, arguments: words })}\n`);
  const done = new Promise<void>((resolve) => {
    qemu.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      if (output.includes('"status": "completed"')) resolve();
    });
  });
  say('qmp_capabilities');
  say('migrate', { uri: `exec:cat > ${file}` });
  const asking = setInterval(() => say('query-migrate'), 100);
  await Promise.race([done, closed]);
  clearInterval(asking);
  qemu.kill('SIGKILL');
  await closed;
  if (/VGA not available/.test(errors)) return undefined;
  if (!output.includes('"status": "completed"')) throw new Error(`no stream: ${output}${errors}`);
  return readFileSync(file);
}

const DISPLAYS = ['std', 'cirrus', 'qxl', 'virtio', 'vmware', 'none'].map((name) => ['-vga', name]);
const CARDS = ['e1000', 'e1000e', 'rtl8139', 'pcnet', 'ne2k_pci', 'vmxnet3', 'i82551', 'virtio-net-pci'].map(
  (name) => ['-device', name],
);

const MACHINES: Readonly<Partial<Record<QemuArch, readonly (readonly string[])[]>>> = {
  x86_64: [
    ['-M', 'pc'],
    ['-M', 'q35'],
    ...DISPLAYS.map((display) => ['-M', 'pc', ...display]),
    ['-M', 'q35', '-vga', 'virtio', '-device', 'virtio-scsi-pci', '-device', 'virtio-balloon-pci'],
    ...CARDS.map((card) => ['-M', 'q35', '-nic', 'none', ...card]),
    ['-M', 'pc', '-device', 'VGA,addr=9', '-device', 'virtio-serial-pci', '-device', 'virtio-tablet-pci'],
    ['-M', 'q35', '-nic', 'user,model=virtio-net-pci', '-usb', '-device', 'usb-tablet'],
    ['-M', 'pc', '-nic', 'user,model=virtio', '-nic', 'user', '-device', 'virtio-rng-pci'],
    ['-M', 'q35', '-nic', 'user', '-drive', 'if=virtio,format=raw,file=/dev/null,read-only=on'],
  ],
  s390x: [
    ['-M', 's390-ccw-virtio'],
    ['-M', 's390-ccw-virtio', '-device', 'virtio-rng-ccw'],
    ['-M', 's390-ccw-virtio', '-nic', 'user', '-device', 'virtio-rng-ccw'],
  ],
  aarch64: [
    ['-M', 'virt', '-cpu', 'cortex-a57'],
    ['-M', 'virt', '-cpu', 'cortex-a57', '-device', 'virtio-rng-pci'],
    ['-M', 'virt', '-cpu', 'cortex-a57', '-nic', 'user', '-device', 'virtio-rng-pci'],
  ],
};

describe.each(Object.entries(MACHINES))(
  '%s: a machine with defaults takes its own stream',
  (arch, machines) => {
    const binary = findQemu(arch as QemuArch);
    if (binary === undefined)
      console.warn(`SKIPPED: machines with defaults, for there is no qemu-system-${arch}`);

    test.skipIf(binary === undefined).for(machines.map((args) => [args.join(' '), args] as const))(
      '%s',
      { timeout: 60_000 },
      async ([, args], context) => {
        if (binary === undefined) return;
        const words = ['-m', arch === 'x86_64' ? '32' : '64', ...args];
        const bytes = await streamOf(binary, words);
        if (bytes === undefined) {
          console.warn(`SKIPPED: ${words.join(' ')}, whose display comes with another package`);
          return context.skip();
        }
        const stream = parseStream(bytes, { accepts: acceptVirtio(registry) });
        const version = binary.version.split('.').slice(0, 2).join('.');
        const target = parseTarget(`qemu-${version}`, { commandLine: [`qemu-system-${arch}`, ...words] });
        const refused = checkStream(stream, target, registry).filter(
          ({ severity }) => severity === 'refused' || severity === 'unknown',
        );
        expect(refused).toEqual([]);
      },
    );
  },
);
