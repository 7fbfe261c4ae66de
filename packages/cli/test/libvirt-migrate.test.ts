// A real libvirt moves a running guest to another one that makes its devices differently: `check` says before what happens.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Libvirtd } from '@virtkit/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CHANGES,
  guestDomain,
  prepareGuest,
  readInput,
  say,
  startGuest,
  whyNoGuests,
} from './libvirt-lab.ts';

const why = whyNoGuests();
if (why !== undefined) console.warn(`SKIPPED: live migrations by a real libvirt: ${why}`);
/** Good and bad ones. All of them take some minutes. */
const MIGRATIONS = [
  'guest csum off',
  'rx_queue_size 512 to 256',
  'scsi queues 2 to 1',
  'nothing',
  'rom bar off',
  'scsi max_sectors',
  'host mrg_rxbuf off',
  'card event_idx off',
  'host gso off',
  'guest tso4 off',
];
const chosen = process.env['VIRTKIT_CHANGES'] === 'all' ? MIGRATIONS : MIGRATIONS.slice(0, 2);

let [here, there]: (Libvirtd | undefined)[] = [];
const both = (): readonly [Libvirtd, Libvirtd] => {
  if (here === undefined || there === undefined) throw new Error('no daemons');
  return [here, there];
};

describe.skipIf(why !== undefined)('a guest that moves to another host', () => {
  beforeAll(async () => {
    [here, there] = [await Libvirtd.start(), await Libvirtd.start()];
    prepareGuest(here);
    await startGuest(here, 'vk', guestDomain(here, 'vk'));
  }, 600_000);
  afterAll(async () => {
    await here?.close();
    await there?.close();
  });

  test.each(chosen)(
    '%s: what check says of the running guest is what happens',
    async (what) => {
      const [from, to] = both();
      const change = CHANGES.find((each) => each.what === what);
      if (change === undefined) throw new Error(`no change ${what}`);
      const xml = join(from.directory, 'there.xml');
      const before = await from.ask('dumpxml', '--migratable', '--security-info', 'vk');
      const changed = before.replace(change.from, change.to);
      expect(changed === before).toBe(what === 'nothing');
      writeFileSync(xml, changed);
      // a stream of the guest, which runs on
      const dump = join(from.directory, 'live.dump');
      await from.ask('dump', '--live', 'vk', dump);
      const { answer, says, text } = say(await readInput(dump, false), { target: 'qemu-7.2', domain: [xml] });
      const socket = `unix:${to.directory}/move.sock`;
      const moved = await from.virsh(
        ...['migrate', '--live', '--unsafe', '--xml', xml, 'vk', to.uri, '--migrateuri', socket],
      );
      expect(answer, `${text}\n${moved.stderr}`).toBe(moved.status === 0 ? 'loads' : 'refused');
      if (moved.status === 0) {
        // the next one goes back
        [here, there] = [to, from];
        return;
      }
      expect((await from.ask('domstate', 'vk')).trim()).toBe('running');
      const log = to.log('vk');
      const lines = log.slice(log.lastIndexOf('starting up libvirt version:'));
      expect(
        says.filter((line) => lines.includes(line)),
        `${says.join('\n')}\n${lines.slice(-2000)}`,
      ).not.toEqual([]);
    },
    300_000,
  );
});
