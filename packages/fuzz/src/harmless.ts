// What a QEMU that is only asked may be given, looked at apart from the package that writes it.
import { optionPairs, ownKeys } from './option-pairs.ts';
import { demand } from './target.ts';

/** Options that have nothing of a host in them, by the value of their first key, and the keys that they may have. */
const KEYS: Readonly<
  Record<string, { readonly first: string; readonly values: RegExp; readonly keys: string }>
> = {
  '-blockdev': { first: 'driver', values: /^null-co$/, keys: 'driver size node-name read-only' },
  '-chardev': { first: 'backend', values: /^null$/, keys: 'backend id' },
  '-netdev': { first: 'type', values: /^hubport$/, keys: 'type id hubid' },
  '-fsdev': { first: 'fsdriver', values: /^synth$/, keys: 'fsdriver id' },
  '-virtfs': { first: 'fsdriver', values: /^synth$/, keys: 'fsdriver mount_tag' },
  '-audiodev': { first: 'driver', values: /^none$/, keys: 'driver id' },
  '-audio': { first: 'driver', values: /^none$/, keys: 'driver model' },
  '-nic': {
    first: 'type',
    values: /^(user|none)$/,
    keys: 'type restrict model mac macaddr addr vectors netdev',
  },
  '-net': {
    first: 'type',
    values: /^(user|nic|none)$/,
    keys: 'type restrict model mac macaddr addr vectors netdev',
  },
  '-object': {
    first: 'qom-type',
    values: /^(memory-backend-ram|iothread|throttle-group|cryptodev-backend-builtin|rng-builtin)$/,
    keys: 'qom-type id size x-use-canonical-path-for-ramblock-id',
  },
};
const FLAGS = /^-(no-user-config|S|nodefaults|no-acpi|no-hpet|usb)$/;
/** Options whose whole value is the machine's, and whose files are only read. */
const KEPT =
  /^-(display|monitor|accel|m|smp|numa|vga|watchdog|boot|kernel|initrd|append|dtb|bios|L|option-rom|serial|parallel)$/;
/** Types that are somebody else's, or write. */
const OF_THE_HOST =
  /^(canokey|vfio|vhost|usb-host|usb-redir|ivshmem|ccid-card|tpm-|scsi-block|scsi-generic|u2f|xen)/;
const WRITTEN = /^(jsonfile|dumpdtb)$/;

/**
 * Demands that a command is harmless. @throws OracleError where a word of it would have QEMU touch something of the
 * host but files that it reads
 */
export function harmless(words: readonly string[]): void {
  for (let at = 0; at < words.length; at++) {
    const option = (words[at] ?? '').replace(/^--/, '-');
    if (FLAGS.test(option)) continue;
    const text = words[++at] ?? '';
    const what = `${option} ${text}`;
    const known = Object.hasOwn(KEYS, option) ? KEYS[option] : undefined;
    if (known !== undefined) {
      const pairs = optionPairs(text, known.first);
      const values = new Map(pairs);
      const isFirmware =
        option === '-blockdev' && values.get('read-only') === 'on' && values.get('driver') !== 'null-co';
      if (isFirmware)
        ownKeys(what, pairs, [
          'driver',
          'node-name',
          'file',
          'filename',
          'size',
          'offset',
          'read-only',
          'locking',
        ]);
      else {
        ownKeys(what, pairs, known.keys.split(' '));
        demand(known.values.test(values.get(known.first) ?? ''), what);
      }
    } else if (option === '-drive') drive(what, optionPairs(text, 'file'));
    else if (option === '-device') device(what, text);
    else if (option === '-machine')
      for (const [key] of optionPairs(text, 'type')) demand(!WRITTEN.test(key), what);
    else if (option === '-set') demand(/^device\.[^.]*\.(?!jsonfile=|driver=)/.test(text), what);
    else if (option === '-global')
      demand(
        !/^[^.=]+\.jsonfile=/.test(text) &&
          !optionPairs(text, 'driver').some(([, value]) => value === 'jsonfile'),
        what,
      );
    else demand(KEPT.test(option), what);
  }
}

function drive(what: string, pairs: readonly (readonly [string, string])[]): void {
  const values = new Map(pairs);
  ownKeys(
    what,
    pairs,
    'file.driver file.size file.locking file.filename format if id index media bus unit readonly read-only'.split(
      ' ',
    ),
  );
  if (values.get('file.driver') === 'null-co') demand(!values.has('file.filename'), what);
  else
    demand(
      values.get('if') === 'pflash' &&
        values.get('readonly') === 'on' &&
        values.get('file.locking') === 'off',
      what,
    );
}

/** The text of a device is that of the command line, which may be JSON. */
function device(what: string, text: string): void {
  const pairs = text.startsWith('{')
    ? Object.entries(JSON.parse(text) as object)
    : optionPairs(text, 'driver');
  for (const [key, value] of pairs) {
    demand(!WRITTEN.test(key), what);
    demand(key !== 'driver' || !OF_THE_HOST.test(String(value)), what);
  }
}
