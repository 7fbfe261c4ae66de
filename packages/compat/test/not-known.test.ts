import { describe, expect, test } from 'vitest';
import { answerOf, checkStream, parseTarget, VERSIONS, type Verdict } from '../src/index.ts';
import { commandLineOf, readStream, registry } from './corpus.ts';

const stream = readStream('q72-q35-52-io');

/** The stream, said to be of another machine type. */
function ofMachine(name: string): Verdict[] {
  return checkStream(
    { ...stream, configuration: { name, capabilities: ['x-ignore-shared'] } },
    parseTarget('qemu-11.1,capabilities=x-ignore-shared'),
    registry,
  );
}

describe('a version of QEMU that is not known', () => {
  test.each(['qemu-11.2', 'qemu-12.0', 'qemu-99.1', 'qemu-7.3', 'qemu-10.12'])('%s: no yes', (target) => {
    const verdicts = checkStream(stream, parseTarget(target), registry);
    expect(verdicts.map(({ code, severity }) => [code, severity])).toContainEqual(['version', 'unknown']);
    expect(answerOf(verdicts)).toBe('unknown');
    expect(verdicts.find(({ code }) => code === 'version')?.reason).toContain(target.replace('qemu-', ''));
  });

  test.each(['qemu-7.2', 'qemu-9.2', 'qemu-11.0', 'qemu-11.1', '11.1.7', 'qemu-011.01'])(
    '%s is known',
    (target) => {
      const verdicts = checkStream(stream, parseTarget(`${target},capabilities=x-ignore-shared`), registry);
      expect(answerOf(verdicts)).toBe('loads');
    },
  );

  test('a refusal that is certain stays one', () => {
    const verdicts = checkStream(stream, parseTarget('qemu-12.0,event_idx=off'), registry);
    expect(answerOf(verdicts)).toBe('refused');
  });

  test('every version of the table is known', () => {
    for (const { name } of VERSIONS) {
      const codes = checkStream(stream, parseTarget(name), registry).map(({ code }) => code);
      expect(codes).not.toContain('version');
    }
  });
});

describe('a machine type that is not known', () => {
  test.each([
    'pc-q35-jammy',
    'pc-q35-rhel9.6.0',
    'pc-i440fx-focal',
    'pseries-rhel8.6.0',
    'virt-rhel9.4.0',
    'vz8.1',
    '',
  ])('"%s": no yes', (name) => {
    const verdicts = ofMachine(name);
    expect(verdicts).toContainEqual(expect.objectContaining({ code: 'machine', severity: 'unknown' }));
    expect(answerOf(verdicts)).toBe('unknown');
  });

  test.each(['pc-q35-7.2', 'pc-q35-11.1', 'virt-7.2', 'pseries-7.2', 'virt', 'isapc'])(
    '%s is known',
    (name) => {
      expect(answerOf(ofMachine(name))).toBe('loads');
    },
  );

  test.each(['virt-11.2', 'pseries-12.0', 'pc-q35-4.0.1', 'pc-q35-11.2', 's390-ccw-virtio-99.0'])(
    '%s is none of QEMU 11.1',
    (name) => {
      const verdicts = ofMachine(name);
      expect(verdicts).toContainEqual(expect.objectContaining({ code: 'no-machine', severity: 'refused' }));
    },
  );

  test.each(['q72-q3542-io', 'q72-q35-52-io', 'q72-pc26-io'])(
    'defaults of an old one are guessed at, and no reason to refuse: %s',
    (name) => {
      const old = readStream(name);
      const machine = old.configuration?.name ?? '';
      const renamed = machine.replace(/-[\d.]+$/, '-rhel8.6.0');
      const commandLine = commandLineOf(name).map((word) => word.replace(machine, renamed));
      const target = parseTarget('qemu-7.2,capabilities=x-ignore-shared', { commandLine });
      const configuration = { name: renamed, capabilities: ['x-ignore-shared'] };
      expect(answerOf(checkStream({ ...old, configuration }, target, registry))).toBe('unknown');
      // under its own name it is known, and loads
      const own = parseTarget('qemu-7.2,capabilities=x-ignore-shared', { commandLine: commandLineOf(name) });
      expect(answerOf(checkStream(old, own, registry))).toBe('loads');
    },
  );

  test('at the target, where the stream does not have it: refused, for QEMU compares the names', () => {
    const verdicts = checkStream(stream, parseTarget('qemu-7.2,machine=pc-q35-jammy'), registry);
    expect(answerOf(verdicts)).toBe('refused');
    expect(verdicts).toContainEqual(expect.objectContaining({ code: 'machine', severity: 'unknown' }));
  });
});
