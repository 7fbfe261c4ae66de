// A real libvirt restores a domain that was changed after it was saved: `check` says before what happens.
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Libvirtd } from '@virtkit/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Asked } from '../src/ask-running.ts';
import { checkGuest } from '../src/check.ts';
import type { Read } from '../src/read.ts';
import {
  askGuest,
  CHANGES,
  type Change,
  guestDomain,
  prepareGuest,
  readInput,
  say,
  sayRunning,
  startGuest,
  whyNoGuests,
} from './libvirt-lab.ts';

const why = whyNoGuests();
if (why !== undefined) console.warn(`SKIPPED: restores by a real libvirt: ${why}`);
/** All of them take some minutes. */
const chosen: readonly Change[] = process.env['VIRTKIT_CHANGES'] === 'all' ? CHANGES : CHANGES.slice(0, 6);

let daemon: Libvirtd;
let saved: string;
let read: Read;
/** What the guest said before it was saved. */
let guest: Asked;
/** What was said of it by its name. */
let named: Awaited<ReturnType<typeof checkGuest>>;

describe.skipIf(why !== undefined)('a saved domain that is changed', () => {
  beforeAll(async () => {
    daemon = await Libvirtd.start();
    prepareGuest(daemon);
    await startGuest(daemon, 'vk', guestDomain(daemon, 'vk'));
    guest = await askGuest(daemon, 'vk');
    named = await checkGuest({ target: 'qemu-7.2', domain: ['vk'], connect: daemon.uri }, false);
    saved = join(daemon.directory, 'vk.save');
    await daemon.ask('save', 'vk', saved);
    read = await readInput(saved, false);
  }, 600_000);
  afterAll(() => daemon?.close());

  test('its guest was asked by the name of the domain', () => {
    expect(named.text).toBe(
      'qemu-7.2 loads what this guest would send, with the devices that the source had\n',
    );
    expect(named.note).toMatch(/^asked a QEMU 7\.2 that runs; its longest answer took \d+ ms$/);
  });

  test('the domain in its header is the destination that is asked about', () => {
    expect(say(read, { target: 'qemu-7.2' })).toMatchObject({ answer: 'loads' });
  });

  test.each(chosen)(
    '$what: what check says is what happens',
    async ({ from, to }) => {
      const before = await daemon.ask('save-image-dumpxml', '--security-info', saved);
      const xml = join(daemon.directory, 'changed.xml');
      writeFileSync(xml, before.replace(from, to));
      const { answer, says, text } = say(read, { target: 'qemu-7.2', domain: [xml] });
      const running = sayRunning(guest, { target: 'qemu-7.2', domain: [xml] });
      const copy = join(daemon.directory, 'copy.save');
      copyFileSync(saved, copy);
      const restored = await daemon.virsh('restore', '--paused', '--xml', xml, copy);
      if (restored.status === 0) await daemon.ask('destroy', 'vk');
      const happened = restored.status === 0 ? 'loads' : 'refused';
      expect(answer, `${text}\n${restored.stderr}`).toBe(happened);
      expect(running.answer, `${running.text}\n${restored.stderr}`).toBe(happened);
      if (happened === 'loads') return;
      // QEMU has started, and refused: libvirt itself has let it through
      const log = daemon.log('vk');
      const lines = log.slice(log.lastIndexOf('starting up libvirt version:'));
      expect(lines, restored.stderr).toMatch(/qemu-system/);
      expect(
        says.filter((line) => lines.includes(line)),
        `${says.join('\n')}\n${lines.slice(-2000)}`,
      ).not.toEqual([]);
    },
    120_000,
  );
});
