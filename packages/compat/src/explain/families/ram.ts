import type { Family } from '../family.ts';

/** Messages about guest memory: its blocks, its pages, postcopy. */
export const ramFamilies: readonly Family[] = [
  {
    code: 'ramblock-size',
    pattern: /Length mismatch: (?<block>\S+): (?:0x)?(?<stream>[0-9a-f]+) in != (?:0x)?(?<local>[0-9a-f]+)/i,
    meaning:
      'Memory block "{block}" has 0x{stream} bytes in the stream and 0x{local} at the destination: a ROM, firmware or memory size differs.',
    advice: [
      'Install the same firmware and option ROMs (ipxe-qemu, seabios, ovmf) in the same version on both hosts, or give the device rombar=0 or the romfile of the source; for pc.ram: the same memory size.',
    ],
  },
  {
    code: 'ramblock-size',
    pattern:
      /Mismatched (?:RAM|ram) page size (?<block>\S+)|Mismatched GPAs for block (?<block2>\S+)|Postcopy needs matching (?:RAM|target) page sizes|Size too large: (?<block3>\S+)|RAM block '(?<block4>[^']+)' (?:resized|discard)|Target page size bigger|bitmap size mismatch|Block (?<block5>\S+) has a different length/,
    meaning:
      'Memory block {block}{block2}{block3}{block4}{block5} has another size, page size or place on the two sides.',
    advice: [
      'Use the same memory configuration on both sides: size, memory back ends, huge pages and their size, NUMA nodes, hot-plugged memory.',
    ],
  },
  {
    code: 'poisoned',
    pattern: /hardware poisoned memory/,
    meaning:
      "A page of the guest's memory is broken in hardware; its content is lost, so the VM cannot be moved.",
    advice: ['Restart the VM (it is given other pages), and have the memory of this host checked.'],
  },
  {
    code: 'postcopy-host',
    pattern:
      /[Uu]serfault(?:fd)?|UFFDIO|userfaultfd|uffd|vm\.unprivileged_userfaultfd|nvdimm memory, postcopy|Host backend files need to be TMPFS or HUGETLBFS/,
    meaning:
      'The destination cannot do postcopy: its kernel does not offer userfaultfd to QEMU, or not for this kind of memory.',
    advice: [
      'Allow it (sysctl vm.unprivileged_userfaultfd=1, or access to /dev/userfaultfd), or migrate without postcopy.',
    ],
  },
  {
    code: 'postcopy',
    broad: true,
    pattern:
      /[Pp]ostcopy|POSTCOPY|post-copy|MIG_RP|\bRP\b|return.path|RETURN_PATH|Req_Page|[Ss]ibling indicated error|CMD_PACKAGED|CMD_PING|packaged state|Misaligned page request|[Rr]equest overrun|migrate(?:-| )(?:pause|recover)|Migrate recover|resume_ack|illegal resume|RECV_BITMAP|ramblock '[^']*' end mark|switchover ack|SWITCHOVER|[Ss]witchover|munlockall|(?:Failed to|Cannot) map (?:postcopy|large zero|test area)|full userfault|shared fault|Failed to (?:wake|resolve)|handshake|send rp message|Failed reading data for message|req_pages|copy host|zero host|incrementing failed|allow to continue|read\(\) failed|[Ff]ailed:? features|Received (?:invalid message|'[^']*' message)/,
    meaning:
      'Postcopy, or the way back from the destination to the source, failed. If the VM had already started at the destination, its memory is in two halves.',
    advice: [
      'If the VM is paused in postcopy: bring the network back and recover (virsh migrate --postcopy-resume; QMP migrate-recover and migrate with resume), do not destroy either side.',
      'Else set postcopy-ram the same on both sides, or migrate without it.',
    ],
  },
  {
    code: 'ram',
    pattern:
      /error while loading state for instance 0x\w+ of device 'ram'|Illegal RAM offset|Getting RAM address failed|RAM block not found|Can't find block|Non-same host page|Received an unexpected compressed page|Error reading ramblock|illegal host addr|Unknown combination of migration flags/,
    role: 'consequence',
    meaning:
      'Guest memory could not be read out of the stream: memory differs between the two sides, or the stream broke there.',
    advice: [
      'Use the same memory size, memory devices, ROMs and migration capabilities on both sides; the line before this one says which block.',
      'If there is no other line: the connection or file ended there; look into the log of the source.',
    ],
  },
  {
    code: 'ram-discard',
    broad: true,
    pattern:
      /RAM ?[Dd]iscard|RamDiscard|[Dd]iscard RAM|RAM discard|discarding RAM|madvise|fallocate|remap RAM|[Mm]emory (?:region|backend|device)|memdev|memory-backend|mem-path|hugepage|page size|ram block|RAM block|ramblock|ram_block|qemu_ram|RAMBlock|userfault|guest memory|guest RAM|RAM|backing store|[Uu]naligned|MADVISE|mlock|memory range|remap addr|multiples of|plugged ranges|THP|cannot be changed|preallocation|host: \S+ from|zero host/,
    meaning: 'A block of guest memory cannot be set up, given back or found on this host.',
    advice: [
      'Use the same memory back ends (size, share, huge pages, preallocation) on both sides, with enough free memory on this host.',
    ],
  },
];
