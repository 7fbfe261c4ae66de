/** Notes in the help and the manual page of a command, beyond its arguments and options. */
export interface CommandNotes {
  /** Command lines that work as they stand, once the files are there, and what each is for. */
  readonly examples: readonly (readonly [line: string, purpose: string])[];
  /** Meanings of exit codes of this command, where they are not as in {@link EXIT_CODES}. */
  readonly exits: Readonly<Record<number, string>>;
}

/** Meanings of exit codes where a command says nothing else. */
const EXIT_CODES: Readonly<Record<number, string>> = {
  2: 'an option or an argument is wrong',
  3: 'something cannot be read (what could be read is printed all the same), or output cannot be written',
};

/** Lists exit codes with their meaning, in order. */
export function exitsOf({ exits }: CommandNotes): readonly (readonly [code: string, meaning: string])[] {
  return Object.entries({ ...EXIT_CODES, ...exits });
}

const LOADS = {
  0: 'it loads',
  1: 'it is refused',
  4: 'virtkit cannot say: the answer depends on something that is not known to it, or that nobody said',
} as const;

/** Notes by the name of the command. */
export const NOTES: Readonly<Record<string, CommandNotes>> = {
  inspect: {
    examples: [
      ['virtkit inspect guest.mig', 'the virtio devices of a stream, by name'],
      [
        "virtkit inspect guest.mig --device virtio-blk --path 'queues[0]'",
        'the first queue of each disk, with where its bytes are',
      ],
      ['virtkit inspect disk.qcow2#before-update --json', 'a snapshot of savevm, for a program'],
    ],
    exits: { 0: 'fine', 1: 'nothing of that name is in the stream' },
  },
  verify: {
    examples: [
      [
        'virtkit verify guest.mig',
        'whether each device comes back byte for byte, and its fields fit together',
      ],
      [
        'zstdcat guest.mig.zst | virtkit verify - --json',
        'the same of a stream that another program unpacks',
      ],
    ],
    exits: { 0: 'fine', 1: 'fields that do not fit together, or bytes that do not come back' },
  },
  steps: {
    examples: [
      ['virtkit steps guest.mig', 'how each device was saved, and how it would be loaded'],
      ['virtkit steps guest.mig --device virtio-net', 'the same of the network cards alone'],
    ],
    exits: { 0: 'fine', 1: 'no such device is in the stream' },
  },
  diff: {
    examples: [
      ['virtkit diff guest.mig there.mig', 'what differs, and which of it a load would refuse'],
      ['virtkit diff guest.mig there.mig --json', 'the same for a program'],
    ],
    exits: { 0: 'nothing that would be refused differs', 1: 'the destination would refuse' },
  },
  explain: {
    examples: [
      [
        "virtkit explain 'Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef'",
        'one message',
      ],
      ['virtkit explain - < /var/log/libvirt/qemu/vm1.log', 'a log of libvirt'],
      ['kubectl logs virt-launcher-vm1-x7k2p | virtkit explain -', "a launcher's log of KubeVirt"],
    ],
    exits: { 0: 'a cause and a cure were printed', 1: 'no message in the text is known' },
  },
  check: {
    examples: [
      ['virtkit check guest.mig --target qemu-11.1', 'a stream, and a version of QEMU'],
      [
        'virtkit check guest.save --target rhel-9.6 --domain there.xml',
        'a save of libvirt, and a changed domain',
      ],
      ['virtkit check guest.mig --target proxmox-9 --qm 100.conf', 'a machine that Proxmox will start'],
      ['virtkit check --domain web --target ubuntu-24.04', 'a guest that runs, without a stream'],
      [
        'virtkit check --all --kubevirt --target kubevirt-1.8 --format prometheus',
        'each machine of a cluster, before its upgrade',
      ],
    ],
    exits: LOADS,
  },
  host: {
    examples: [
      ['virtkit host > there.json', "on the target's host: what check --host reads"],
      [
        'virtkit host --qemu /opt/qemu/bin/qemu-system-x86_64 > there.json',
        'of a QEMU in a place of its own',
      ],
    ],
    exits: { 0: 'fine' },
  },
  convert: {
    examples: [
      ['virtkit convert guest.mig there.mig --to qemu-7.2', 'rewrite a stream for an older QEMU'],
      [
        'virtkit convert guest.mig there.mig --to qemu-11.1 --device virtio-blk-pci,queue-size=128',
        'for a disk that has other queues there',
      ],
    ],
    exits: {
      ...LOADS,
      0: 'written',
      1: 'it cannot be made to load: nothing is written',
      4: `written; ${LOADS[4]}`,
    },
  },
  visit: {
    examples: [
      ['virtkit visit guest.mig done.mig --disk disk.raw', 'do the requests that a guest left in flight'],
      [
        'virtkit visit guest.mig done.mig --disk virtio-blk@0000:00:03.0=root.raw virtio-blk@0000:00:04.0=data.raw',
        'with more than one disk',
      ],
    ],
    exits: { 0: 'all requests are done', 1: 'requests failed on their disk and stay in flight' },
  },
  receive: {
    examples: [
      [
        'virtkit receive unix:/run/in.sock -o guest.mig',
        'save what QEMU\'s "migrate unix:/run/in.sock" sends',
      ],
      [
        'virtkit receive tcp:0.0.0.0:4444 --tls-ca ca.pem --tls-cert here.pem --tls-key here.key',
        'show the devices of a migration over TLS',
      ],
    ],
    exits: { 0: 'the whole stream was taken', 3: 'the stream is not readable, or the connection broke' },
  },
  send: {
    examples: [
      ['virtkit send guest.mig tcp:127.0.0.1:4444', 'to a QEMU with -incoming tcp:127.0.0.1:4444'],
      ['virtkit send guest.mig unix:/run/in.sock --wait 60', 'to one that is not there before a minute'],
    ],
    exits: { 0: 'sent, and loaded where QEMU says so', 1: 'QEMU refused it', 3: 'the connection broke' },
  },
  proxy: {
    examples: [
      ['virtkit proxy tcp:0.0.0.0:4444 tcp:10.0.0.2:4444', 'check the devices of a migration on its way'],
      ['virtkit proxy unix:/run/in.sock unix:/run/out.sock --strict', 'and refuse for warnings as well'],
    ],
    exits: { 0: 'passed on', 1: 'refused', 3: 'the connection broke' },
  },
  serve: {
    examples: [
      ['virtkit serve blk --disk disk.img --socket /run/blk.sock', 'a disk from a file'],
      [
        'virtkit serve net --connect unix:/run/switch.sock --socket /run/net.sock --stats 10',
        'a network card, and what its queues do every ten seconds',
      ],
      ['virtkit serve ./my-device.js --socket /run/mine.sock', "a device of one's own"],
    ],
    exits: { 0: 'ended by SIGINT or SIGTERM' },
  },
  view: {
    examples: [['virtkit view guest.mig', 'print the address of a page with this stream open']],
    exits: { 0: 'ended by SIGINT or SIGTERM' },
  },
  completion: {
    examples: [
      ["echo 'source <(virtkit completion bash)' >> ~/.bashrc", 'for bash'],
      ["echo 'source <(virtkit completion zsh)' >> ~/.zshrc", 'for zsh, behind compinit'],
      ['virtkit completion fish > ~/.config/fish/completions/virtkit.fish', 'for fish'],
    ],
    exits: { 0: 'fine' },
  },
  man: {
    examples: [
      ['virtkit man check | man -l -', 'read the page of check'],
      ['virtkit man -o /usr/local/share/man/man1', 'have all pages where man finds them'],
    ],
    exits: { 0: 'fine' },
  },
};
