// Targets as libvirt, KubeVirt and Proxmox describe them, by the command.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root, useCommand } from './command.ts';

const command = useCommand();
const STREAM = join(root, 'packages/lab/streams/7.2.22/q72-pc-idle.mig.gz');
const own: readonly string[] = JSON.parse(
  readFileSync(STREAM.replace('.mig.gz', '.json'), 'utf8'),
).command_line;

function check(option: string, text: string, target = 'qemu-7.2,capabilities=x-ignore-shared'): string {
  const file = join(command.home(), 'described');
  writeFileSync(file, text);
  const { stdout, stderr, status } = command.virtkit([
    'check',
    STREAM,
    '--target',
    target,
    '--json',
    option,
    file,
  ]);
  if (!stdout.startsWith('{')) return `${status} ${stderr.trim()}`;
  const { answer, verdicts } = JSON.parse(stdout);
  const codes = verdicts
    .filter(({ severity }: { severity: string }) => severity !== 'note')
    .map(({ code }: { code: string }) => code);
  return `${status} ${answer} ${[...new Set(codes)].join(' ')}`.trim();
}

describe('check', () => {
  const vmi = (machine: string, memory: string, more = ''): string =>
    `kind: VirtualMachineInstance\nspec: {domain: {cpu: {cores: 4}, machine: {type: ${machine}}, memory: {guest: ${memory}}, devices: {${more}}}}`;

  test.each([
    ['the same machine', vmi('pc-i440fx-7.2', '128Mi'), '0 loads'],
    ['another machine type', vmi('pc-q35-7.2', '128Mi'), '1 refused machine'],
    ['other memory', vmi('pc-i440fx-7.2', '256Mi'), '1 refused ram-size'],
    ['no version of the machine', vmi('pc', '128Mi'), '4 unknown not-understood'],
    ['more queues', vmi('pc-i440fx-7.2', '128Mi', 'blockMultiQueue: true'), '1 refused config-space'],
  ])('--vmi with %s: %#', (_, text, answer) => {
    expect(check('--vmi', text)).toBe(answer);
  });

  test('--qm with what qm showcmd prints, or with less', () => {
    const shown = `/usr/bin/kvm ${own
      .slice(1)
      .map((word) => `'${word}'`)
      .join(' ')}`;
    expect(check('--qm', shown)).toBe('0 loads');
    expect(check('--qm', shown.replace('pc-i440fx-7.2', 'pc-i440fx-7.1'))).toBe('1 refused machine feature');
    expect(check('--qm', 'machine: pc-i440fx-7.2\nmemory: 128\n')).toBe('4 unknown not-understood');
    expect(check('--qm', 'machine: pc-q35-7.2\nmemory: 128\n')).toBe('1 refused machine not-understood');
    expect(check('--qm', 'nothing')).toMatch(/^2 virtkit: --qm .*: neither a configuration/);
  });

  test('--domain without the addresses that libvirt gives is no yes, and no refusal', () => {
    const domain = (memory: number): string =>
      `<domain><memory unit='MiB'>${memory}</memory><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os><devices>
      <interface type='user'><model type='virtio'/></interface></devices></domain>`;
    expect(check('--domain', domain(128))).toBe('4 unknown not-understood');
    expect(check('--domain', domain(256))).toBe('1 refused not-understood ram-size');
  });

  test('--domain with what is no domain, or no file', () => {
    expect(check('--domain', '<network/>')).toMatch(
      /^2 virtkit: --domain .*: the XML is <network>, and no <domain>/,
    );
    const { status, stderr } = command.virtkit([
      'check',
      STREAM,
      '--target',
      'qemu-7.2',
      '--domain',
      '/no/file',
    ]);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/--domain \/no\/file: no such file/)]);
  });

  test('a target is said once, and something is to be checked', () => {
    const file = join(command.home(), 'one');
    writeFileSync(file, vmi('pc', '1Gi'));
    const both = command.virtkit(['check', STREAM, '--target', 'qemu-7.2', '--vmi', file, '--qm', file]);
    expect([both.status, both.stderr]).toEqual([2, expect.stringMatching(/--vmi and --qm both say/)]);
    const none = command.virtkit(['check', '--target', 'qemu-7.2']);
    expect([none.status, none.stderr]).toEqual([2, expect.stringMatching(/one of them is needed/)]);
  });
});
