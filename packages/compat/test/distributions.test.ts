import { isSince, machineVersion, versionRow } from '@virtkit/core/qemu';
import type { MigrationStream } from '@virtkit/migration';
import { describe, expect, test } from 'vitest';
import {
  answerOf,
  checkStream,
  DISTRIBUTION_MACHINES,
  distributionMachine,
  parseTarget,
  RELEASES,
  releaseHas,
  releaseNamed,
  type Verdict,
} from '../src/index.ts';
import { ofMachine, withFeatures } from './changed-stream.ts';
import { commandLineOf, readStream, registry } from './corpus.ts';

/** A guest of QEMU 7.2 with a disk and a card that uses RING_RESET, as machines from 7.2 on offer it. */
const resetting = readStream('q72-q35-52-io');
const withReset = withFeatures(resetting, 'virtio-net', 1n << 40n);
/** UDP segmentation offload: HOST_USO, GUEST_USO4 and GUEST_USO6. */
const USO = 0b111n << 54n;
const segmenting = withFeatures(readStream('q72-pc-tap-72'), 'virtio-net', USO);

function verdicts(stream: MigrationStream, machine: string, target: string): Verdict[] {
  return checkStream(
    ofMachine(stream, machine),
    parseTarget(`${target},capabilities=x-ignore-shared`),
    registry,
  );
}

const answer = (stream: MigrationStream, machine: string, target: string): string =>
  answerOf(verdicts(stream, machine, target));

describe('the table of machine types', () => {
  test('has each name once, with its source, and one of QEMU’s own for it or none', () => {
    const names = DISTRIBUTION_MACHINES.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, upstream, source, differences } of DISTRIBUTION_MACHINES) {
      expect(machineVersion(name), name).toBeUndefined();
      expect(source, name).not.toBe('');
      for (const each of differences) expect(each.source, name).not.toBe('');
      if (upstream === undefined) continue;
      const version = machineVersion(upstream);
      expect(version, `${name} is ${upstream}`).toBeDefined();
      // of the same family
      expect(upstream.replace(/-[\d.]+$/, '')).toBe(
        name.replace(/-(rhel[\d.]+|[a-z]+(-(hpb|maxcpus|hpb-maxcpus|v2))?)$/, ''),
      );
    }
  });

  // as the packagings have it, read by hand
  test.each([
    ['pc-q35-bionic', 'pc-q35-2.11'],
    ['pc-q35-cosmic', 'pc-q35-2.11'],
    ['pc-q35-cosmic-hpb', 'pc-q35-2.12'],
    ['pc-q35-focal', 'pc-q35-4.2'],
    ['pc-i440fx-focal', 'pc-i440fx-4.0'],
    ['pc-q35-hirsute-hpb', 'pc-q35-5.2'],
    ['pc-i440fx-hirsute-hpb', 'pc-i440fx-5.1'],
    ['pc-q35-jammy-hpb-maxcpus', 'pc-q35-6.2'],
    ['s390-ccw-virtio-kinetic', 's390-ccw-virtio-6.2'],
    ['pc-q35-noble-v2', 'pc-q35-8.2'],
    ['pc-q35-plucky', 'pc-q35-9.1'],
    ['pc-i440fx-questing', 'pc-i440fx-10.0'],
    ['pc-q35-rhel7.6.0', 'pc-q35-2.12'],
    ['pc-q35-rhel8.2.0', 'pc-q35-4.2'],
    ['pc-q35-rhel9.0.0', 'pc-q35-6.2'],
    ['pc-q35-rhel9.2.0', 'pc-q35-7.2'],
    ['pc-q35-rhel9.6.0', 'pc-q35-9.1'],
    ['s390-ccw-virtio-rhel9.4.0', 's390-ccw-virtio-8.2'],
    ['virt-rhel10.2.0', 'virt-10.1'],
  ])('%s is %s', (name, upstream) => {
    expect(distributionMachine(name)?.upstream).toBe(upstream);
  });

  test('RHEL’s offer what their patches say, by the thresholds of QEMU’s own', () => {
    const since = (rhel: string, version: string): boolean => {
      const machine = distributionMachine(`pc-q35-rhel${rhel}`)?.upstream ?? '';
      const qemu = versionRow('10.1');
      if (qemu === undefined) throw new Error('no row for 10.1');
      return isSince({ machine, qemu }, version);
    };
    // hw_compat_rhel_9_1: queue_reset, vectors of virtio-rng; _8_4: vectors of cards; _8_3: queues; _8_2: ring size
    expect(['9.0.0', '9.2.0'].map((rhel) => since(rhel, '7.2'))).toEqual([false, true]);
    expect(['8.4.0', '8.5.0'].map((rhel) => since(rhel, '6.0'))).toEqual([false, true]);
    expect(['8.3.0', '8.4.0'].map((rhel) => since(rhel, '5.2'))).toEqual([false, true]);
    expect(['8.2.0', '8.3.0'].map((rhel) => since(rhel, '5.0'))).toEqual([false, true]);
    // hw_compat_rhel_9_4: UDP segmentation; _9_2: masks of errors; _9_8: extended tags
    expect(['9.2.0', '9.4.0'].map((rhel) => since(rhel, '8.2'))).toEqual([false, true]);
    expect(['9.2.0', '9.4.0'].map((rhel) => since(rhel, '8.0'))).toEqual([false, true]);
    expect(['9.6.0', '9.8.0'].map((rhel) => since(rhel, '9.2'))).toEqual([false, true]);
  });
});

describe('releases', () => {
  test('each has a QEMU that virtkit knows, its package and a source', () => {
    expect(RELEASES.length).toBeGreaterThan(50);
    expect(new Set(RELEASES.map(({ name }) => name)).size).toBe(RELEASES.length);
    for (const release of RELEASES) {
      expect(versionRow(release.qemu), release.name).toBeDefined();
      expect(release.package).toContain(release.qemu);
      expect(release.source).not.toBe('');
      expect(parseTarget(release.name).release).toBe(release);
    }
  });

  test('what is in them is in the answer', () => {
    const found = verdicts(resetting, 'pc-q35-rhel9.6.0', 'rhel-9.6');
    expect(found.find(({ code }) => code === 'target')?.reason).toMatch(
      /^rhel-9\.6 has QEMU 9\.1 \(qemu-kvm-9\.1\.0-15\.el9_6\); read from .*spec/,
    );
    expect(found.find(({ code }) => code === 'machine-type')?.reason).toMatch(
      /^pc-q35-rhel9\.6\.0 is QEMU's pc-q35-9\.1, but for hpet=off; read from/,
    );
  });

  test('the kin of RHEL have what it has', () => {
    for (const kin of ['almalinux', 'rocky', 'oraclelinux'])
      expect(releaseNamed(`${kin}-9.6`)).toEqual({ ...releaseNamed('rhel-9.6'), name: `${kin}-9.6` });
  });

  test.each(['rhel-9.99', 'ubuntu-21.13', 'kubevirt-7.0', 'proxmox-1', 'qemu-kvm-9.1', 'solaris-11'])(
    '%s is not known',
    (name) => {
      expect(() => parseTarget(name)).toThrow(`"${name}": a QEMU from 5.2 on expected`);
    },
  );

  test('the error names those of the same kind', () => {
    expect(() => parseTarget('kubevirt-7.0')).toThrow(
      /of kubevirt virtkit knows kubevirt-1\.0, .*kubevirt-1\.8/,
    );
  });

  test.each([
    ['rhel-9.6', 'pc-q35-rhel9.6.0', true],
    ['rhel-9.6', 'pc-q35-rhel9.8.0', false],
    ['rhel-9.6', 'pc-q35-rhel7.6.0', true],
    ['rhel-9.6', 'pc-q35-rhel7.3.0', false],
    ['rhel-8.8', 'pc-q35-rhel7.3.0', true],
    ['rhel-10.2', 'pc-q35-rhel8.6.0', false],
    ['rhel-10.2', 'pc-i440fx-rhel10.0.0', true],
    ['rhel-9.6', 'pc-i440fx-rhel7.6.0', true],
    ['rhel-9.6', 'pc-q35-9.1', false],
    ['rhel-9.6', 'pc-q35-noble', false],
    ['kubevirt-1.8', 'pc-q35-rhel9.8.0', true],
    ['ubuntu-24.04', 'pc-q35-noble', true],
    ['ubuntu-24.04', 'pc-q35-noble-v2', true],
    ['ubuntu-24.04', 'pc-q35-plucky', false],
    ['ubuntu-24.04', 'pc-q35-8.2', true],
    ['debian-12', 'pc-q35-7.2', true],
    ['debian-12', 'pc-q35-jammy', false],
    ['debian-12', 'pc-q35-something', undefined],
  ])('%s, %s: %s', (target, machine, has) => {
    const release = releaseNamed(target);
    if (release === undefined) throw new Error(`no ${target}`);
    expect(releaseHas(release, machine)).toBe(has);
  });
});

describe('a stream that another distribution wrote', () => {
  test('RING_RESET is not offered by the machine of QEMU 6.2, whatever it is called', () => {
    for (const [machine, target] of [
      ['pc-q35-jammy', 'ubuntu-24.04'],
      ['pc-q35-rhel9.0.0', 'rhel-9.6'],
    ] as const) {
      const commandLine = commandLineOf('q72-q35-52-io').map((word) => word.replace('pc-q35-5.2', machine));
      const asked = parseTarget(`${target},capabilities=x-ignore-shared`, { commandLine });
      const found = checkStream(ofMachine(withReset, machine), asked, registry);
      expect(found.filter(({ severity }) => severity === 'refused')).toContainEqual(
        expect.objectContaining({ feature: 'VIRTIO_F_RING_RESET', property: 'queue_reset' }),
      );
    }
  });

  test('it is by that of 7.2', () => {
    for (const [machine, target] of [
      ['pc-q35-lunar', 'ubuntu-24.04'],
      ['pc-q35-rhel9.2.0', 'rhel-9.6'],
    ] as const)
      expect(answer(withReset, machine, target)).toBe('loads');
  });

  test.each([
    ['pc-q35-jammy', 'ubuntu-22.04', 'loads'],
    ['pc-q35-jammy', 'ubuntu-24.04', 'loads'],
    ['pc-q35-noble', 'ubuntu-22.04', 'refused'],
    ['pc-q35-jammy', 'debian-13', 'refused'],
    ['pc-q35-7.2', 'rhel-9.6', 'refused'],
    ['pc-q35-7.2', 'proxmox-9', 'loads'],
    ['pc-q35-rhel9.4.0', 'rhel-9.6', 'loads'],
    ['pc-q35-rhel9.4.0', 'ubuntu-24.04', 'refused'],
    // known by name alone
    ['pc-i440fx-rhel7.0.0', 'rhel-8.8', 'unknown'],
    ['pc-q35-unheard-of', 'ubuntu-24.04', 'unknown'],
    ['pc-q35-unheard-of', 'rhel-9.6', 'unknown'],
    // of a QEMU whose distribution nobody named
    ['pc-q35-rhel9.4.0', 'qemu-9.1', 'unknown'],
  ])('%s at %s: %s', (machine, target, expected) => {
    expect(answer(resetting, machine, target)).toBe(expected);
  });

  test('the name of Proxmox’ machines ends with its own version, which its QEMU cuts off', () => {
    const commandLine = commandLineOf('q72-q35-52-io').map((word) =>
      word.replace('pc-q35-5.2', 'pc-q35-5.2+pve1'),
    );
    const target = parseTarget('proxmox-8,capabilities=x-ignore-shared', { commandLine });
    expect(target.destination?.machine).toBe('pc-q35-5.2');
    expect(answerOf(checkStream(resetting, target, registry))).toBe('loads');
  });

  test('q35 is RHEL’s newest where the target is RHEL', () => {
    const at = (target: string): string | undefined =>
      parseTarget(target, { commandLine: '/usr/libexec/qemu-kvm -machine q35' }).destination?.machine;
    expect(at('rhel-9.6')).toBe('pc-q35-rhel9.6.0');
    expect(at('centos-stream-10')).toBe('pc-q35-rhel10.2.0');
    expect(at('ubuntu-24.04')).toBe('pc-q35-8.2');
  });

  test('an HPET is not there on a PC of RHEL, unless somebody asks for it', () => {
    const machine = 'pc-q35-rhel9.4.0';
    const stream = ofMachine(resetting, machine);
    expect(stream.sections.map(({ header }) => header.idstr)).toContain('hpet');
    const at = (more: string): Verdict[] => {
      const commandLine = commandLineOf('q72-q35-52-io').map((word) =>
        word.replace('pc-q35-5.2', `${machine}${more}`),
      );
      return checkStream(stream, parseTarget('rhel-9.6', { commandLine }), registry);
    };
    const hpet = expect.objectContaining({ reason: 'the target has no HPET', severity: 'refused' });
    expect(at('')).toContainEqual(hpet);
    expect(at(',hpet=on')).not.toContainEqual(hpet);
  });
});

describe('UDP segmentation in machines of RHEL 9, on under a name in one package and off in the next', () => {
  const MACHINE = 'pc-q35-rhel9.6.0';
  const refusedBy = (target: string): Verdict[] =>
    verdicts(segmenting, MACHINE, target).filter(
      ({ severity, property }) => severity === 'refused' && /uso/.test(property ?? ''),
    );

  test.each([
    'kubevirt-1.7',
    'kubevirt-1.8',
    'qemu-kvm-9.1.0-20.el9',
    'rhel-9.7',
    'rhel-10.0',
    'qemu-kvm-10.1.0-10.el9',
  ])('%s: off', (target) => {
    const found = refusedBy(target);
    expect(found.map(({ feature }) => feature)).toEqual([
      'VIRTIO_NET_F_GUEST_USO4',
      'VIRTIO_NET_F_GUEST_USO6',
      'VIRTIO_NET_F_HOST_USO',
    ]);
    // the offered set is that of the machine, told bit by bit
    expect(found[0]?.qemuSays).toMatch(/^Features 0x1c0010130afffa7 unsupported/);
  });

  test.each(['kubevirt-1.6', 'qemu-kvm-9.1.0-19.el9'])('%s: on', (target) => {
    expect(refusedBy(target)).toEqual([]);
  });

  test('an update that may have it or not: unknown, and what to say', () => {
    const found = verdicts(segmenting, MACHINE, 'qemu-kvm-9.1.0-15.el9_6.7');
    expect(answerOf(found)).toBe('unknown');
    expect(found).toContainEqual(expect.objectContaining({ code: 'package', property: 'guest_uso4' }));
  });

  test('whoever switches it on gets it', () => {
    expect(
      verdicts(segmenting, MACHINE, 'kubevirt-1.7,host_uso=on,guest_uso4=on,guest_uso6=on').filter(
        ({ severity }) => severity === 'refused',
      ),
    ).toEqual([]);
  });

  test('it stays on in machines of RHEL 10', () => {
    const found = verdicts(segmenting, 'pc-q35-rhel10.0.0', 'rhel-10.2');
    expect(found.filter(({ severity }) => severity === 'refused')).toEqual([]);
  });
});
