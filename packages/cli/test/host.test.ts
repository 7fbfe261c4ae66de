// What virtkit host writes of real QEMUs, against what virtkit knows of their versions; and checks against such a file.
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseHostFacts } from '@virtkit/compat';
import { compareVersion, DEFAULT_CHANGED, machineVersion, versionRow } from '@virtkit/core/qemu';
import { findQemus } from '@virtkit/lab';
import { describe, expect, test } from 'vitest';
import { useCommand } from './command.ts';
import { violations } from './schema.ts';

const { virtkit, home } = useCommand();
const corpus = fileURLToPath(new URL('../../lab/streams/', import.meta.url));
const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** A QEMU as one program, whatever it takes to start it. */
function program(version: string): string | undefined {
  const binary = findQemus('x86_64').get(version);
  if (binary === undefined) return undefined;
  const path = join(home(), `qemu-${version}`);
  const env = Object.entries(binary.env).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
  writeFileSync(path, `#!/bin/sh\n${env.join('')}exec ${binary.command.map(quoted).join(' ')} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** The file that the host of this QEMU would have; undefined, and said, where it is not here. */
function hostFile(version: string): string | undefined {
  const file = join(home(), `host-${version}.json`);
  if (existsSync(file)) return file;
  const path = program(version);
  if (path === undefined) {
    console.warn(`SKIPPED: no QEMU ${version}: VIRTKIT_QEMU_ROOTS names directories with others`);
    return undefined;
  }
  const { status, stdout, stderr } = virtkit(['host', '--qemu', path]);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  writeFileSync(file, stdout);
  return file;
}

describe.each(['5.2', '7.2', '10.0', '11.1'])('QEMU %s', (version) => {
  test('the file is as its schema says, and check reads it', () => {
    const file = hostFile(version);
    if (file === undefined) return;
    const text = readFileSync(file, 'utf8');
    expect(violations('host', JSON.parse(text))).toEqual([]);
    const { kernel, qemus } = parseHostFacts(text);
    expect(kernel).toMatch(/^\d+\.\d+/);
    expect(qemus[0]?.version).toMatch(new RegExp(`^${version.replace('.', '\\.')}\\.\\d+$`));
    expect(qemus[0]?.target).toBe('x86_64');
    expect(qemus[0]?.devices['virtio-blk-pci']).toHaveProperty('num-queues');
  });

  test('its machine types are those that virtkit knows of this version', () => {
    const file = hostFile(version);
    if (file === undefined) return;
    const names = parseHostFacts(readFileSync(file, 'utf8')).qemus[0]?.machines.map(({ name }) => name) ?? [];
    const { pc, q35 } = versionRow(version)?.machines ?? {};
    for (const [family, range] of [
      ['pc', pc],
      ['q35', q35],
    ] as const) {
      const found = names
        .flatMap((name) => machineVersion(name) ?? [])
        .filter((each) => each.family === family)
        .map((each) => each.version)
        .sort(compareVersion);
      expect([found[0], found.at(-1)], family).toEqual(range);
    }
  });

  test('what they set, from 9.1 on, is what virtkit’s table of defaults says', () => {
    const file = hostFile(version);
    if (file === undefined) return;
    const [qemu] = parseHostFacts(readFileSync(file, 'utf8')).qemus;
    const telling = qemu?.machines.filter(({ compat }) => compat !== undefined) ?? [];
    expect(telling.length > 0).toBe(compareVersion(version, '9.1') >= 0);
    // a property that the program no longer has is one that no machine of it sets
    const properties = [
      'queue_reset',
      'x-ats-page-aligned',
      'use-disabled-flag',
      'x-pcie-ext-tag',
      'x-pcie-err-unc-mask',
    ] as const;
    for (const { name, compat = [] } of telling) {
      const machine = machineVersion(name);
      if (machine === undefined) continue;
      for (const property of properties) {
        const set = compat.some((each) => each.property === property);
        expect([name, property, set]).toEqual([
          name,
          property,
          compareVersion(machine.version, DEFAULT_CHANGED[property]) < 0,
        ]);
      }
    }
  });

  test('balloons have interrupts from machine 10.0 on', () => {
    const file = hostFile(version);
    if (file === undefined) return;
    const [qemu] = parseHostFacts(readFileSync(file, 'utf8')).qemus;
    for (const { name, compat } of qemu?.machines ?? []) {
      const machine = machineVersion(name);
      if (machine === undefined || compat === undefined) continue;
      const none = compat.some(
        ({ driver, property, value }) =>
          driver === 'virtio-balloon-pci' && property === 'vectors' && value === '0',
      );
      expect([name, none]).toEqual([name, compareVersion(machine.version, '10.0') < 0]);
    }
  });

  test('its own streams load there, by their command lines', () => {
    const file = hostFile(version);
    if (file === undefined) return;
    const folder = readdirSync(corpus).find((each) => each.startsWith(`${version}.`));
    if (folder === undefined) return;
    const names = readdirSync(join(corpus, folder))
      .filter((name) => /-io\.mig\.gz$/.test(name) && /q35/.test(name) && !name.includes('23'))
      .slice(0, 1);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const info = JSON.parse(
        readFileSync(join(corpus, folder, name.replace('.mig.gz', '.json')), 'utf8'),
      ) as {
        readonly command_line: readonly string[];
      };
      const args = JSON.stringify(info.command_line);
      const target = 'host,capabilities=x-ignore-shared';
      const { status, stdout, stderr } = virtkit([
        ...['check', join(corpus, folder, name), '--target', target, '--host', file, '--args', args],
      ]);
      expect(stdout + stderr, name).toMatch(
        new RegExp(`is QEMU ${version}\\.\\d+ .*, as it answered; Linux`),
      );
      expect(status, stdout).toBe(0);
    }
  });

  test('a property that its devices do not have is refused', () => {
    const file = hostFile(version);
    if (file === undefined) return;
    const stream = join(corpus, '7.2.22', 'q72-q35-52-io.mig.gz');
    const args =
      'qemu-system-x86_64 -M pc-q35-5.2 -nodefaults -device virtio-blk-pci,drive=d,x-is-not-there=on';
    const { status, stdout } = virtkit(['check', stream, '--target', 'host', '--host', file, '--args', args]);
    expect(status).toBe(1);
    expect(stdout).toContain("QEMU says: Property 'virtio-blk-pci.x-is-not-there' not found");
  });
});

describe('check --host', () => {
  const stream = join(corpus, '7.2.22', 'q72-q35-52-io.mig.gz');
  const check = (text: string, target = 'host'): { status: number | null; stderr: string } => {
    const file = join(home(), 'other.json');
    writeFileSync(file, text);
    return virtkit(['check', stream, '--target', target, '--host', file]);
  };

  test.each([
    ['', 'no JSON'],
    ['{}', 'no file that virtkit host wrote'],
    ['{"kind":"host","format":2}', 'format 2; this virtkit reads 1'],
    ['{"kind":"host","format":1,"kernel":"6.1"}', 'qemus: missing'],
    ['{"kind":"host","format":1,"kernel":"6.1","qemus":[{}]}', 'qemus[0].path: missing'],
    ['{"kind":"host","format":1,"kernel":"six","qemus":[]}', 'that host has no QEMU'],
  ])('%s: %s', (text, message) => {
    const { status, stderr } = check(text);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
  });

  test('a file of more than 16 MiB is not read', () => {
    const { status, stderr } = check(`{"kind":"host"${' '.repeat(2 ** 24)}}`);
    expect(stderr).toContain('is larger than 16777216 bytes');
    expect(status).toBe(2);
  });

  test('a program that is no QEMU', () => {
    const path = join(home(), 'no-qemu');
    writeFileSync(path, '#!/bin/sh\necho hello\n');
    chmodSync(path, 0o755);
    const { status, stderr } = virtkit(['host', '--qemu', path]);
    expect(stderr).toContain('not QMP: hello');
    expect(status).toBe(2);
  });
});
