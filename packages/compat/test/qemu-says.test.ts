import { describe, expect, test } from 'vitest';
import { checkStream, parseTarget, type Verdict } from '../src/index.ts';
import { readStream, registry } from './corpus.ts';

function refused(name: string, target: string, device: string): Verdict[] {
  return checkStream(readStream(name), parseTarget(target, { devices: [device] }), registry).filter(
    ({ severity }) => severity === 'refused',
  );
}

// What the three QEMUs said to these loads is in these words.
describe("a refusal is in the words of the target's version", () => {
  test.each([
    ['qemu-7.2', 'Features 0x10130006e54 unsupported. Allowed features: 0x10169006e54'],
    ['qemu-10.0', 'Features 0x10130006e54 unsupported. Allowed features: 0x10169006e54'],
    [
      'qemu-11.1',
      'Features 0x00000000000000000000010120006e54 unsupported. Allowed features: 0x00000000000000000000010169006e54',
    ],
  ])('features, %s', (target, words) => {
    const [first] = refused('q72-pc-idle', target, 'virtio-blk-pci,indirect_desc=off');
    expect(first).toMatchObject({ feature: 'VIRTIO_RING_F_INDIRECT_DESC', qemuSays: words });
  });

  test.each([
    ['qemu-7.2', 'Features 0x10130006e54 unsupported. Allowed features: …'],
    ['qemu-11.1', 'Features 0x00000000000000000000010120006e54 unsupported. Allowed features: …'],
  ])('features of which only a property is known, %s', (target, words) => {
    const stream = readStream('q72-pc-idle');
    // without the device types, nothing is made and asked
    const bare = { ...registry, devices: [] };
    const said = checkStream(stream, parseTarget(`${target},indirect_desc=off`), bare).map(
      ({ qemuSays }) => qemuSays,
    );
    expect(said).toContain(words);
  });

  test('queues that the target does not have, of a disk', () => {
    const found = refused('q111-q35-packed-io', 'qemu-11.1', 'virtio-blk-pci,num-queues=1,vectors=3');
    expect(found.map(({ qemuSays }) => qemuSays)).toContain('VQ 1 vring.num 256 exceeds allocated max 0');
    const before = refused(
      'q72-pc-packedoffered-inflight',
      'qemu-7.2',
      'virtio-blk-pci,num-queues=1,vectors=3',
    );
    expect(before.map(({ code }) => code)).not.toContain('queue-count');
  });

  test.each([
    ['qemu-10.0', 'bus, x-disable-pcie'],
    ['qemu-11.1', 'bus'],
  ])('what decides over the size of configuration space, %s', (target, property) => {
    const commandLine =
      'qemu-system-x86_64 -M pc-q35-7.2 -nodefaults -device pcie-root-port,id=rp,addr=1 -device virtio-blk-pci,bus=rp,drive=d';
    const stream = readStream('q72-q35-disablepcie-idle');
    const found = checkStream(stream, parseTarget(target, { commandLine }), registry);
    const size = found.find(({ code }) => code === 'config-space-size');
    expect(size?.property).toBe(property);
  });
});
