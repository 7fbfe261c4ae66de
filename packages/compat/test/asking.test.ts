// Command lines are of strangers, in logs and in tickets: a QEMU that is asked what it makes of one must not do what they say to the host.
import { askingCommand, parseTarget } from '@virtkit/compat';
import { describe, expect, test } from 'vitest';

const NO_FILE = (): undefined => undefined;

function asked(line: string, config?: string): string[] {
  const commandLine = `qemu-system-x86_64 ${line}`;
  const readConfig = config === undefined ? NO_FILE : () => config;
  const { destination } = parseTarget('qemu-11.1', { commandLine, readConfig });
  if (destination === undefined) throw new Error('no destination');
  return askingCommand(commandLine, destination, { readConfig }).slice(8);
}

describe('a value with a comma stays a value:', () => {
  test.each([
    ['-chardev file,id=a,,backend=file,,path=/x', '-chardev null,id=a,,backend=file,,path=/x'],
    ['-netdev tap,id=a,,type=tap,,script=/x', '-netdev hubport,id=a,,type=tap,,script=/x,hubid=1'],
    ['-object rng-random,id=a,,filename=/x', '-object rng-builtin,id=a,,filename=/x'],
    ['-object iothread,id=a,,b=c', '-object iothread,id=a,,b=c'],
    ['-fsdev local,id=a,,path=/x', '-fsdev synth,id=a,,path=/x'],
    ['-virtfs local,mount_tag=a,,path=/x', '-virtfs synth,mount_tag=a,,path=/x'],
    ['-audiodev alsa,id=a,,driver=wav', '-audiodev none,id=a,,driver=wav'],
    ['-audio driver=alsa,model=a,,driver=wav', '-audio driver=none,model=a,,driver=wav'],
    [
      '-blockdev file,filename=b,node-name=a,,driver=file,,filename=/x',
      '-blockdev driver=null-co,size=1073741824,node-name=a,,driver=file,,filename=/x',
    ],
    [
      '-drive if=pflash,file=a,unit=0,,file.locking=on',
      '-drive if=pflash,format=raw,readonly=on,unit=0,,file.locking=on,file.driver=file,file.locking=off,file.filename=a',
    ],
    ['-M pc,,dumpdtb=/x', '-machine '],
    ['-M q35,a,,dumpdtb=/x,smm=on', '-machine q35,smm=on'],
  ])('%s', (line, expected) => {
    const words = asked(line);
    expect(words).toEqual(expected.split(/ (?!.* )/));
  });
});

test('what is left out is not read', () => {
  expect(asked('-name {x -smp 2 -incoming {')).toEqual(['-smp', '2']);
});

test('nothing is written that a property names', () => {
  expect(asked('-M virt,dumpdtb=/x')).toEqual(['-machine', 'virt']);
  expect(asked('-device uefi-vars-x64,jsonfile=/x,use-pio=on')).toEqual([
    '-device',
    'uefi-vars-x64,use-pio=on',
  ]);
  expect(asked('-device {"driver":"uefi-vars-x64","jsonfile":"/x"}')).toEqual(['-device', 'uefi-vars-x64']);
  expect(asked('-S -global uefi-vars-x64.jsonfile=/x -global driver=a,property=jsonfile,value=/x')).toEqual(
    [],
  );
  expect(asked('-global virtio-blk-pci.packed=on')).toEqual(['-global', 'virtio-blk-pci.packed=on']);
});

test('a device does not become another one that is of the host', () => {
  expect(asked('-device pci-testdev,id=a -set device.a.driver=canokey -set device.a.addr=5')).toEqual([
    ...['-device', 'pci-testdev,id=a'],
    ...['-set', 'device.a.addr=5'],
  ]);
  expect(asked('-S -device canokey,file=/x')).toEqual([]);
  expect(
    asked('-readconfig f', '[chardev "a,path=x"]\n  backend = "file"\n[machine]\n  dumpdtb = "x"\n'),
  ).toEqual([...['-chardev', 'null,id=a,,path=x'], ...['-machine', '']]);
});

test('a name that every object has a member of is one that is not known', () => {
  for (const name of ['constructor', 'toString', '__proto__']) {
    const { destination } = parseTarget('qemu-7.2', {
      commandLine: `-nodefaults -M ${name} -vga ${name} -audio driver=none,model=${name} -device ${name}`,
    });
    expect(destination?.machine).toBe(name);
    expect(destination?.devices.map(({ driver }) => driver)).toEqual([name]);
  }
});
