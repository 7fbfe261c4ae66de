import { ConsoleDevice } from '@virtkit/device-console';
import { nodePort } from '@virtkit/device-console/node';
import { RngDevice, webCrypto } from '@virtkit/device-rng';
import { findV86Kit, resumeV86, v86Snapshot } from '@virtkit/lab/v86.ts';
import { attach } from '@virtkit/v86';

// The terminal of this program is hvc0 of a guest: Linux in v86, resumed from a snapshot and given our devices while it runs.

const CONSOLE_SLOT = 6;
const RNG_SLOT = 7;
/** For what takes long on a busy machine; the shell itself may last. */
const SESSION_MS = 24 * 60 * 60 * 1000;

const found = findV86Kit();
if (!found.ok) {
  console.error(`${found.reason}\n(npm run prepare:guest)`);
  process.exit(1);
}
const { kit } = found;
const { stdin, stdout } = process;

const { emulator, shell } = await resumeV86(kit, await v86Snapshot(kit));
const serial = new ConsoleDevice({
  sizes: true,
  ports: [{ console: true, backend: nodePort({ readable: stdin, writable: stdout }) }],
});
attach(emulator, serial, { slot: CONSOLE_SLOT });
attach(emulator, new RngDevice({ backend: webCrypto(crypto) }), { slot: RNG_SLOT });
const resize = (): void => serial.port(0).resize(stdout.columns ?? 80, stdout.rows ?? 24);
resize();
stdout.on('resize', resize);

await emulator.run();
await shell.run('echo 1 > /sys/bus/pci/rescan');
await shell.run('while [ ! -e /dev/hvc0 ]; do usleep 100000; done');
// keys are the guest's to understand
if (stdin.isTTY) stdin.setRawMode(true);
await shell.start('setsid sh -c "exec sh -i </dev/hvc0 >/dev/hvc0 2>&1"', SESSION_MS).done;
if (stdin.isTTY) stdin.setRawMode(false);

await emulator.stop();
await emulator.destroy();
stdin.destroy();
