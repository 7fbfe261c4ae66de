// Two copies of this package in one program, as an update leaves them: what one made the other takes, and so says the compiler.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type * as Core from '../src/index.ts';
import * as here from '../src/index.ts';
import { Echo, wire } from './live/echo.ts';

const sources = fileURLToPath(new URL('../src', import.meta.url));
const wireFormat = fileURLToPath(new URL('../../vmstate/src/index.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'virtkit-two-copies-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The sources, elsewhere: other modules, other classes, other declarations. The wire format below is there once. */
function copy(name: string): string {
  const target = join(folder, name);
  cpSync(sources, target, { recursive: true });
  for (const file of readdirSync(target, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const path = join(target, file);
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll("'@virtkit/vmstate'", `'${wireFormat}'`));
  }
  return join(target, 'index.ts');
}

test('a device of one copy works over the memory of the other, for a device type that knows neither', async () => {
  const there: typeof Core = await import(copy('run'));
  expect(there.MappedMemory).not.toBe(here.MappedMemory);
  const bytes = new Uint8Array(0x10000);
  const view = new DataView(bytes.buffer);
  const memory = new there.MappedMemory([{ gpa: 0, bytes }]);
  memory.startDirtyLog();
  const { device, host } = here.createDevice(new Echo(), wire({}), { memory });
  host.setStatus(3);
  host.setDriverFeatures(1n << 32n);
  host.setStatus(11);
  host.queue(0)?.setAddresses(0x1000n, 0x2000n, 0x3000n);
  host.setStatus(15);
  // one buffer of 16 bytes for the device to write
  view.setUint32(0x1000, 0x4000, true);
  view.setUint32(0x1008, 16, true);
  view.setUint16(0x100c, 2, true);
  view.setUint16(0x2002, 1, true);
  host.kick(0);
  expect(view.getUint16(0x3002, true)).toBe(1);
  const dirty: number[] = [];
  memory.takeDirty((gpa) => dirty.push(gpa));
  expect(dirty).toEqual([0x3000]);
  // and the state of the one goes into the other, over memory of the first
  const other = there.createDevice(new Echo(), wire({}), {
    memory: new here.MappedMemory([{ gpa: 0, bytes }]),
  });
  other.device.restore(device.capture());
  expect(other.device.capture()).toEqual(device.capture());
});

test('an error of one copy is one for the other', async () => {
  const there: typeof Core = await import(copy('errors'));
  try {
    there.guestMemory({} as Core.MemoryMap);
    expect.unreachable();
  } catch (error) {
    expect(error).not.toBeInstanceOf(here.HostError);
    expect(here.isHostError(error)).toBe(true);
  }
});

/** What programs hand from one package to another. */
const HANDED = [
  'Gpa',
  'MemoryMap',
  'GuestMemory',
  'LoggedMemory',
  'DeviceHost',
  'DeviceModel',
  'DeviceLayer',
  'TransportHost',
  'TransportModel',
  'TransportLayer',
  'LiveDevice',
  'LiveOptions',
  'VirtioState',
  'Virtqueue',
  'Chain',
  'Finding',
] as const;

test('what one copy declares fits the other, both ways', { timeout: 120_000 }, () => {
  copy('one');
  copy('two');
  const lines = HANDED.flatMap((name) => [
    `export const to${name} = (value: One.${name}): Two.${name} => value;`,
    `export const from${name} = (value: Two.${name}): One.${name} => value;`,
  ]);
  const classes = [
    'export const map = (memory: One.MappedMemory): Two.LoggedMemory => memory;',
    'export const device = (model: One.DeviceModel, transport: One.TransportModel, memory: One.MappedMemory) =>',
    '  Two.createDevice(model, transport, { memory });',
    '// @ts-expect-error an address is no number',
    'export const address: One.Gpa = 5;',
  ];
  writeFileSync(
    join(folder, 'meet.ts'),
    [
      "import type * as One from './one/index.ts';",
      "import * as Two from './two/index.ts';",
      ...lines,
      ...classes,
    ].join('\n'),
  );
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    target: 'es2022',
    module: 'nodenext',
    lib: ['es2024'],
    types: [],
    allowImportingTsExtensions: true,
  };
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, files: ['meet.ts'] }),
  );
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const compiler = join(
    dirname(createRequire(import.meta.url).resolve('typescript/package.json')),
    'bin/tsc',
  );
  let said = '';
  try {
    execFileSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' });
  } catch (error) {
    said = (error as { readonly stdout: string }).stdout;
  }
  expect(said).toBe('');
});
