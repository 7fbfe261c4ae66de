import { bare, type Extra } from './case.ts';
import { live, overSocket } from './moving.ts';
import { ALL, CCW_PAIR, DISK, PCI_PAIR } from './parts.ts';
import { runTiny, TINY, TINY_ARGS, TINY_STATE } from './tiny-firmware.ts';

const tinyBase = { memoryMiB: 4, files: TINY, args: [...TINY_ARGS, ...PCI_PAIR], state: TINY_STATE } as const;

/** Everything that a stream can have around its sections: RAM, UUID, capabilities, the commands of live migration. */
export const containers: readonly Extra[] = [
  bare('pc-fullram-tiny', 'x86_64', ALL, 'RAM in the stream: 4 MiB, zero pages and a few others', {
    ...tinyBase,
    machine: 'pc',
    sharedMemory: false,
    run: runTiny,
  }),
  bare('pc-uuid', 'x86_64', ['7.2', '11.1'], 'UUID and the capability validate-uuid: configuration/uuid', {
    ...tinyBase,
    machine: 'pc',
    args: [...tinyBase.args, '-uuid', '12345678-9abc-def0-1122-334455667788'],
    state: 'reset: VM never ran (-S)',
    migrate: { capabilities: ['x-ignore-shared', 'validate-uuid'] },
  }),
  bare('pc-novmdesc', 'x86_64', ALL, 'suppress-vmdesc=on: no description at the end', {
    ...tinyBase,
    machine: 'pc,suppress-vmdesc=on',
    state: 'reset: VM never ran (-S)',
  }),
  bare('s390-fullram-tiny', 's390x', ['7.2', '11.1'], 'RAM and storage attributes in the stream (-m 4)', {
    machine: 's390-ccw-virtio',
    memoryMiB: 4,
    sharedMemory: false,
    files: DISK,
    args: CCW_PAIR,
  }),
  live('pc-live', ALL, 'live migration in several rounds: repeated PART sections', []),
  live('pc-live-xbzrle', ALL, 'live migration with xbzrle records', ['xbzrle']),
  live('pc-live-compress', ['7.2'], 'live migration with compressed pages (COMPRESS_PAGE)', ['compress'], {
    'compress-threads': 1,
  }),
  bare(
    'pc-dirtybitmaps',
    'x86_64',
    ['7.2', '11.1'],
    'capability dirty-bitmaps: an iterable section that is neither RAM nor described',
    {
      ...tinyBase,
      machine: 'pc',
      run: async (vm) => {
        await runTiny();
        await vm.qmp.execute('block-dirty-bitmap-add', { node: 'd0', name: 'bitmap0', persistent: false });
        await vm.qmp.execute('block-dirty-bitmap-add', { node: 'd0', name: 'other', granularity: 65536 });
      },
      migrate: { capabilities: ['x-ignore-shared', 'dirty-bitmaps'] },
    },
  ),
  ...(
    [
      ['mappedram', ['mapped-ram'], {}, 'mapped-ram: pages at fixed places in the file'],
      [
        'mappedram-ignoreshared',
        ['mapped-ram', 'x-ignore-shared'],
        {},
        'mapped-ram with x-ignore-shared: only ROM blocks are mapped',
      ],
      [
        'mappedram-multifd',
        ['mapped-ram', 'multifd'],
        { 'multifd-channels': 2 },
        'mapped-ram written by multifd threads',
      ],
    ] as const
  ).map(([name, capabilities, parameters, special]) =>
    bare(`pc-${name}`, 'x86_64', ['10.0', '11.1'], special, {
      ...tinyBase,
      machine: 'pc',
      sharedMemory: name === 'mappedram-ignoreshared',
      run: runTiny,
      migrate: { capabilities, parameters: { ...parameters }, method: 'file' },
    }),
  ),
  bare('s390-mappedram', 's390x', ['11.1'], 'mapped-ram of another architecture', {
    machine: 's390-ccw-virtio',
    memoryMiB: 4,
    sharedMemory: false,
    files: DISK,
    args: CCW_PAIR,
    migrate: { capabilities: ['mapped-ram'], method: 'file' },
  }),
  ...(
    [
      [
        'returnpath',
        ['x-ignore-shared', 'return-path'],
        'return path open: OPEN_RETURN_PATH and PING commands',
      ],
      [
        'postcopyadvise',
        ['postcopy-ram'],
        'postcopy-ram allowed but not used: POSTCOPY_ADVISE, host page sizes in the block list if unusual',
      ],
    ] as const
  ).map(([name, capabilities, special]) =>
    bare(`pc-${name}`, 'x86_64', ALL, special, {
      ...tinyBase,
      machine: 'pc',
      sharedMemory: name === 'returnpath',
      run: runTiny,
      transfer: overSocket(capabilities),
      migrate: { capabilities },
    }),
  ),
];
