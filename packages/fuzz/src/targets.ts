import type { FuzzTarget } from './target.ts';
import { client } from './targets/client.ts';
import { overlay, qcow2, snapshot } from './targets/files.ts';
import { frontEnd } from './targets/front-end.ts';
import { guests } from './targets/guest.ts';
import { domain, qm, vmi } from './targets/machines.ts';
import { nbd } from './targets/nbd.ts';
import { frames, incoming, returnPath, webSocket } from './targets/peers.ts';
import { disk, network, serial } from './targets/requests.ts';
import { ring } from './targets/ring.ts';
import { section } from './targets/section.ts';
import { libvirt, stream, vmdesc } from './targets/stream.ts';
import { commandLine, explained } from './targets/text.ts';

/** All there are. */
export const TARGETS: readonly FuzzTarget[] = [
  stream,
  vmdesc,
  libvirt,
  qcow2,
  section,
  explained,
  commandLine,
  domain,
  vmi,
  qm,
  ...guests,
  ring,
  disk,
  network,
  serial,
  webSocket,
  frames,
  incoming,
  returnPath,
  frontEnd,
  client,
  nbd,
  overlay,
  snapshot,
];
