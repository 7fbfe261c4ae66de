// A fleet of a real libvirt: machines that run are asked, and live on.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Libvirtd, whyNoLibvirt } from '@virtkit/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { VmResult } from '../src/fleet/check-fleet.ts';
import { useCommand } from './command.ts';

const { virtkit } = useCommand();
const why = whyNoLibvirt();
if (why !== undefined) console.warn(`SKIPPED: check --all --connect --ask: ${why}`);

describe.skipIf(why !== undefined)('a libvirt with machines that run, and one that does not', () => {
  let daemon: Libvirtd;
  const names = ['runs', 'runs-too', 'rests'];
  beforeAll(async () => {
    daemon = await Libvirtd.start();
    for (const name of names) {
      const file = join(daemon.directory, `${name}.xml`);
      writeFileSync(
        file,
        `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
        <os><type arch='x86_64' machine='q35'>hvm</type></os>
        <devices><interface type='ethernet'><model type='virtio'/></interface><memballoon model='none'/></devices></domain>`,
      );
      await daemon.ask('define', file);
      if (name !== 'rests') await daemon.ask('start', name);
    }
  }, 120_000);
  afterAll(() => daemon.close(), 60_000);

  const check = (...args: readonly string[]): Record<string, VmResult> => {
    const { stdout } = virtkit(['check', '--all', '--connect', daemon.uri, '--json', ...args]);
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as VmResult);
    return Object.fromEntries(results.map((each) => [each.vm, each]));
  };

  test('each has its answer, and those that run still do', { timeout: 120_000 }, async () => {
    const machine = /machine='([^']+)'/.exec(await daemon.ask('dumpxml', 'rests'))?.[1] ?? '';
    const version = machine.replace('pc-q35-', '');
    const found = check('--target', `qemu-${version}`, '--ask');
    expect(Object.keys(found).sort()).toEqual([...names].sort());
    for (const [name, { answer, verdicts }] of Object.entries(found))
      expect([name, answer, verdicts]).toEqual([name, 'loads', []]);
    // none of its machines is among RHEL's
    expect(Object.values(check('--target', 'rhel-9.6')).map(({ answer }) => answer)).toEqual([
      'refused',
      'refused',
      'refused',
    ]);
    expect((await daemon.ask('list', '--name')).trim().split('\n').sort()).toEqual(['runs', 'runs-too']);
  });
});
