import { expose } from 'comlink';
import type { Listener } from '../protocol.ts';
import { Host } from './host.ts';

/** What the page gets hold of: a host, once it has said who listens. */
let host: Host | undefined;

expose({
  begin(id: string, listener: Listener): void {
    host = new Host(id, listener);
  },
  start: (...args: Parameters<Host['start']>) => there().start(...args),
  input: (...args: Parameters<Host['input']>) => there().input(...args),
  latency: (...args: Parameters<Host['latency']>) => there().latency(...args),
  stop: (...args: Parameters<Host['stop']>) => there().stop(...args),
  move: (...args: Parameters<Host['move']>) => there().move(...args),
  moveToTab: (...args: Parameters<Host['moveToTab']>) => there().moveToTab(...args),
  save: (...args: Parameters<Host['save']>) => there().save(...args),
  restore: (...args: Parameters<Host['restore']>) => there().restore(...args),
  leave: () => there().leave(),
});

function there(): Host {
  if (host === undefined) throw new Error('not begun');
  return host;
}
