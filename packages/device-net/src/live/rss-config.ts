import type { Spans } from '@virtkit/core/live';
import { NET_FEATURE } from '../features.ts';
import type { Card } from './card.ts';
import { RSS_TABLE_MAX } from './rss.ts';
import { RSS_KEY_BYTES } from './toeplitz.ts';

/** Length in bytes of the command's fields in front of the indirection table. */
const FIXED_BYTES = 8;

/**
 * Executes RSS_CONFIG and HASH_CONFIG, whose structures have the same layout: `struct virtio_net_rss_config` and its
 * twin. Virtio 1.3 §5.1.6.5.7.1, §5.1.6.5.6.4; QEMU: `virtio_net_handle_rss`. What is wrong leaves scaling switched
 * off, and what was read before that in place.
 *
 * @returns queue pairs to use, or 0: refused
 */
export function configureRss(card: Card, out: Spans, at: number, redirect: boolean): number {
  const { host, rss, littleEndian, settings } = card;
  rss.enabled = false;
  if (!host.has(redirect ? NET_FEATURE.RSS : NET_FEATURE.HASH_REPORT)) return 0;
  if (out.total < at + FIXED_BYTES) return 0;
  rss.hashTypes = out.u32(at, littleEndian);
  const mask = redirect ? out.u16(at + 4, littleEndian) : 0;
  rss.indirectionsLen = mask;
  if (mask >= RSS_TABLE_MAX) return 0;
  const entries = mask + 1;
  rss.indirectionsLen = entries;
  if ((entries & mask) !== 0) return 0;
  rss.defaultQueue = redirect ? out.u16(at + 6, littleEndian) : 0;
  if (rss.defaultQueue >= settings.pairs) return 0;
  const tail = at + FIXED_BYTES + 2 * entries;
  if (out.total < tail) return 0;
  for (let i = 0; i < entries; i++)
    rss.table[i] = redirect ? out.u16(at + FIXED_BYTES + 2 * i, littleEndian) : 0;
  // QEMU takes such a table and looks at each entry when it is used; no state with one is loaded here, so none is taken
  for (let i = 0; i < entries; i++) if ((rss.table[i] ?? 0) >= settings.pairs) return 0;
  if (out.total < tail + 3) return 0;
  const pairs = redirect ? out.u16(tail, littleEndian) : card.currPairs;
  const keyBytes = out.u8(tail + 2);
  if (pairs === 0 || pairs > settings.pairs || keyBytes > RSS_KEY_BYTES) return 0;
  if (keyBytes === 0) return rss.hashTypes === 0 ? pairs : 0;
  const got = out.copyTo(tail + 3, rss.toeplitz.key, 0, keyBytes);
  rss.toeplitz.changed();
  if (got !== keyBytes) return 0;
  rss.enabled = true;
  return pairs;
}
