// A stream of the corpus whose disk has a request waiting, in the memory that came with it.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { parseStream } from '@virtkit/migration';
import { examineDevices } from '@virtkit/migration/inspect';
import { MappedMemory } from '../../core/src/live/memory.ts';
import { SplitDriver } from '../../core/test/live/driver.ts';
import { Rig } from '../../core/test/live/rig.ts';
import { registry } from '../src/model/registry.ts';
import { pathOf } from './corpus.ts';
import { withPages } from './ram-stream.ts';

const PAGE = 4096;
/** Text in the request's buffer, no longer than a line of bytes. */
export const TEXT = 'by the driver';
const BUFFER = 0x31000;

/** The stream, and the number of the disk's section in it. */
export function waitingDisk(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly section: number } {
  const plain = gunzipSync(readFileSync(pathOf('7.2.22/q72-pc-idle')));
  const stream = parseStream(plain);
  const disk = examineDevices(stream, registry).find(({ device }) => device.name === 'virtio-blk');
  const state = disk?.decoded?.state;
  const [queue] = state?.queues ?? [];
  const [parts] = state?.subsections.virtqueues ?? [];
  if (disk === undefined || queue === undefined || parts === undefined)
    throw new Error('no disk with a queue');
  const desc = Number(queue.desc);
  const low = new Uint8Array(0x40000);
  const high = new Uint8Array(4 * PAGE);
  low.set(Buffer.from(TEXT), BUFFER);
  const rig = new Rig({
    size: queue.num,
    desc,
    avail: Number(parts.avail),
    used: Number(parts.used),
    memory: new MappedMemory([
      { gpa: 0, bytes: low },
      { gpa: desc, bytes: high },
    ]),
  });
  new SplitDriver(rig, queue.lastAvailIdx).add(
    [
      { addr: BUFFER, length: 512, write: false },
      { addr: BUFFER + PAGE, length: 1, write: true },
    ],
    true,
  );
  const pages = new Map<number, Uint8Array>();
  for (const [gpa, bytes] of [
    [0, low],
    [desc, high],
  ] as const)
    for (let at = 0; at < bytes.length; at += PAGE) pages.set(gpa + at, bytes.subarray(at, at + PAGE));
  return { bytes: withPages(plain, pages), section: stream.sections.indexOf(disk.device.section) };
}
