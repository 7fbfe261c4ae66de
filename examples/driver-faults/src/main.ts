// Ten disks that misbehave under the kernel of the lab, or another one: npm start -- KERNEL INITRD, whose init runs GUEST_SCRIPT.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TESTS } from './faults.ts';
import { type GuestMachine, runTests } from './run.ts';

/** Starts QEMU, whose serial port is its standard input and output. */
async function qemu(words: readonly string[]): Promise<GuestMachine> {
  const [kernel, initrd] = process.argv.slice(2);
  if (kernel === undefined || initrd === undefined) throw new Error('usage: main.ts KERNEL INITRD');
  const memory = [
    '-m',
    '256M',
    '-object',
    'memory-backend-memfd,id=mem,size=256M,share=on',
    '-M',
    'q35,memory-backend=mem',
  ];
  const guest = ['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet'];
  const child = spawn(
    'qemu-system-x86_64',
    [...memory, ...guest, '-display', 'none', '-nodefaults', '-serial', 'stdio', ...words],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const machine = {
    console: '',
    writeConsole: (text: string) => void child.stdin.write(text),
    async waitForConsole(pattern: RegExp, timeoutMs: number): Promise<void> {
      const end = Date.now() + timeoutMs;
      while (!pattern.test(machine.console)) {
        if (Date.now() > end || child.exitCode !== null) throw new Error(`the guest did not say ${pattern}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    close: async () => void child.kill(),
  };
  child.stdin.on('error', () => {});
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    machine.console += text;
  });
  return machine;
}

const folder = mkdtempSync(join(tmpdir(), 'faults-'));
try {
  const { results } = await runTests(TESTS, folder, qemu);
  for (const { test, outcome } of results) {
    const verdict = outcome === test.expected ? 'as expected' : `${test.expected} expected`;
    console.log(`${test.name.padEnd(16)}${test.faults.padEnd(28)}${outcome.padEnd(14)}${verdict}`);
    if (outcome !== test.expected) process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
