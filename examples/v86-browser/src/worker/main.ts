import { expose } from 'comlink';
import type { HostApi } from '../protocol.ts';
import { Host } from './host.ts';

let host: Host | undefined;

function there(): Host {
  if (host === undefined) throw new Error('not begun');
  return host;
}

expose({
  begin(id, listener) {
    host = new Host(id, listener);
  },
  start: (...args) => there().start(...args),
  input: (...args) => there().input(...args),
  latency: (...args) => there().latency(...args),
  stop: (...args) => there().stop(...args),
  move: (...args) => there().move(...args),
  moveToTab: (...args) => there().moveToTab(...args),
  save: (...args) => there().save(...args),
  restore: (...args) => there().restore(...args),
  leave: () => there().leave(),
} satisfies HostApi);
