import '@xterm/xterm/css/xterm.css';
import './style.css';
import { proxy, type Remote, wrap } from 'comlink';
import { byId, h, setText } from './page/dom.ts';
import { MachinePanel } from './page/machine.ts';
import { reportView } from './page/report.ts';
import { TabMenu } from './page/tab-menu.ts';
import { GuestTerminal } from './page/terminal.ts';
import {
  type GuestName,
  type HostApi,
  type Listener,
  type MoveReport,
  SLOTS,
  type Slot,
  type SlotView,
  type Tab,
} from './protocol.ts';
import MachineWorker from './worker/main.ts?worker';

/** A page with this behind its address waits for a guest from another tab. */
const WAITING = '#waiting';
/** How long to listen for other tabs before a guest is started here. */
const LISTEN = 400;

const id = Array.from(crypto.getRandomValues(new Uint8Array(2)), (byte) =>
  byte.toString(16).padStart(2, '0'),
).join('');
const host: Remote<HostApi> = wrap(new MachineWorker());
let tabs: readonly Tab[] = [];
let views: readonly SlotView[] = [];

const leave = (guest: GuestName) => (): void => panelOf(guest)?.focus();
const terminal = (guest: GuestName): GuestTerminal =>
  new GuestTerminal(guest, (text) => void host.input(guest, text), leave(guest));
const terminals: Readonly<Record<GuestName, GuestTerminal>> = {
  alice: terminal('alice'),
  bob: terminal('bob'),
};

const panels = SLOTS.map(
  (slot) =>
    new MachinePanel(slot, {
      start: (_, guest) => void start(slot, guest),
      move: () => void tell(host.move(slot)),
      moveToTab: (_, anchor) => menu.open(anchor, tabs, (tab) => void tell(host.moveToTab(slot, tab))),
      save: () => void tell(host.save(slot)),
      restore: () => void tell(host.restore(slot)),
      stop: () => void host.stop(slot).catch(told),
      latency: (_, ms) => void host.latency(slot, ms),
      type: (_, text) => {
        const guest = views[slot]?.guest;
        if (guest === undefined) return;
        void host.input(guest, text);
        terminals[guest].focus();
      },
    }),
);
const menu = new TabMenu(() => window.open(`${location.pathname}${WAITING}`));

/** The worker has said it in words. */
const told = (): void => {};

async function start(slot: Slot, guest: GuestName): Promise<void> {
  const panel = panels[slot];
  if (panel === undefined) return;
  terminals[guest].clear();
  terminals[guest].moveTo(panel.screen);
  const { rows, columns } = terminals[guest].size;
  await host.start(slot, guest, { rows, columns }).catch(told);
  terminals[guest].focus();
}

async function tell(reports: Promise<MoveReport | MoveReport[]>): Promise<void> {
  say('');
  const made = await reports.catch(told);
  if (made !== undefined) showReports([made].flat());
}

function showReports(reports: readonly MoveReport[]): void {
  byId('moves').replaceChildren(...reports.map(reportView));
  say('');
}

function say(text: string, kind: 'news' | 'trouble' = 'news'): void {
  const news = byId('news');
  news.dataset['kind'] = kind;
  setText(news, text);
}

function panelOf(guest: GuestName): MachinePanel | undefined {
  return panels[views.findIndex((view) => view.guest === guest)];
}

const listener: Listener = {
  view(slots) {
    views = slots;
    const busy = new Set<GuestName>([...slots, ...tabs].flatMap((place) => guestsOf(place)));
    slots.forEach((view, i) => {
      const panel = panels[i];
      panel?.update(view, busy);
      if (panel !== undefined && view.guest !== undefined) terminals[view.guest].moveTo(panel.screen);
    });
  },
  output: (guest, bytes) => terminals[guest].write(bytes),
  screen: (guest, bytes) => terminals[guest].show(bytes),
  report: (report) => {
    terminals[report.guest].focus();
    showReports([report]);
  },
  tabs: (others) => {
    tabs = others;
    menu.changed(others);
    showTabs();
  },
  say,
};

function guestsOf(place: SlotView | Tab): readonly GuestName[] {
  if ('guests' in place) return place.guests;
  return place.guest === undefined ? [] : [place.guest];
}

function showTabs(): void {
  const others = tabs.map(
    ({ id: other, guests }) => `${other}${guests.length > 0 ? ` with ${guests.join(' and ')}` : ''}`,
  );
  byId('here').replaceChildren(
    'This is tab ',
    h('b', {}, id),
    others.length > 0 ? `, beside ${others.join(', ')}` : '',
  );
  document.title = `${id} · virtkit in v86`;
}

byId('machines').append(...panels.map(({ element }) => element));
showTabs();
addEventListener('pagehide', ({ persisted }) => {
  if (!persisted) void host.leave();
});
await host.begin(id, proxy(listener));
if (location.hash === WAITING) {
  history.replaceState(null, '', location.pathname);
  say('Waiting for a guest from the other tab.');
} else {
  await new Promise((resolve) => setTimeout(resolve, LISTEN));
  const elsewhere = tabs.flatMap(({ guests }) => guests);
  if (elsewhere.includes('alice')) say('alice runs in another tab. Move her here, or start bob.');
  else await start(0, 'alice');
}
