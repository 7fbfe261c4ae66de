import { expect, test } from 'vitest';
import { receiveLive, sendLive } from '../../src/live.ts';
import { CHANNEL, type GuestMachine, GuestWorld, type Kind, PCI, WorkingGuest } from './guest-world.ts';
import { Stories } from './migration.ts';
import { Pipe } from './pipe.ts';

const CUTS = 160;

/** Migrations without end: most of them are cut somewhere, and the guest's drivers work all the time. */
async function journey<M extends GuestMachine>(kind: Kind<M>): Promise<void> {
  const world = new GuestWorld();
  let [source, destination] = [kind.make(world), kind.make(world)];
  source.resume();
  const guest = new WorkingGuest(kind, world, source);
  const stories = new Stories();
  for (let n = 0; n < 20; n++) guest.turn();
  let [forth, back] = [0, 0];
  for (let n = 0; n <= CUTS; n++) {
    const pipe = new Pipe();
    pipe.turn = () => guest.turn();
    if (n % 8 !== 0) {
      if (n % 4 === 1) pipe.back.limit = (n * 7) % back;
      else if (n % 4 === 2) pipe.afterAgreement = (n * 37) % 900;
      else pipe.forth.limit = Math.floor((forth * n) / CUTS);
    }
    const [sent, received] = await Promise.all([
      sendLive(pipe.a, source, { downtimeLimitMs: 1, maxRounds: 3, whenNotConverging: 'force' }),
      receiveLive(pipe.b, destination),
    ]);
    const story = `${sent.result} ${received.result}`;
    stories.add(story);
    if (story === 'unknown failed' && sent.result === 'unknown') await sent.resume();
    const expected = received.result === 'arrived' ? destination : source;
    expect(world.running, story).toBe(expected);
    if (received.result === 'arrived') {
      [source, destination] = [destination, kind.make(world)];
      [forth, back] = [pipe.forth.written, pipe.back.written];
    } else if (sent.result === 'stayed') destination = kind.make(world);
    for (let turn = 0; turn < 4; turn++) guest.turn();
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  }
  await guest.finish();
  expect(world.faults).toEqual([]);
  // what came back is checked by the workloads, step by step; and what is on the disk is what was written
  expect(Buffer.compare(world.disk, guest.disk.shadow)).toBe(0);
  expect(guest.steps).toBeGreaterThan(500);
  expect(Object.keys(stories.counts).sort()).toEqual([
    'moved arrived',
    'stayed failed',
    'unknown arrived',
    'unknown failed',
  ]);
}

test.each([PCI, CHANNEL] as readonly Kind<GuestMachine>[])(
  'on $title, the guest reads, writes, sends and receives while it moves and its connections are cut',
  { timeout: 180_000 },
  (kind) => journey(kind),
);
