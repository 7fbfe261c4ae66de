import type { DeviceReport, MoveReport } from '../protocol.ts';
import { bytes, h } from './dom.ts';

const VERBS = {
  moved: 'moved to',
  saved: 'was saved',
  restored: 'was restored in',
  arrived: 'arrived in',
} as const;

/** What moved, how long it took, and every field of the devices' states. */
export function reportView(report: MoveReport): HTMLElement {
  const total = report.steps.reduce((sum, { ms }) => sum + ms, 0);
  const inFlight = report.devices.reduce((sum, device) => sum + device.inFlight, 0);
  const place = report.kind === 'saved' ? '' : ` ${report.to}`;
  return h(
    'div',
    { class: 'report' },
    h(
      'h2',
      {},
      h('b', { class: 'report-guest' }, report.guest),
      ` ${VERBS[report.kind]}${place}`,
      h(
        'span',
        { class: 'report-facts' },
        `stood still for ${Math.round(total)} ms, with ${inFlight} disk ${inFlight === 1 ? 'request' : 'requests'} in flight`,
      ),
    ),
    steps(report, total),
    h(
      'div',
      { class: 'parts' },
      part('CPU and memory', report.machineBytes, 'v86 state'),
      ...report.devices.map(({ name, bytes: count }) => part(name, count, 'as QEMU writes it')),
    ),
    h('div', { class: 'states' }, ...report.devices.map(stateView)),
  );
}

function steps(report: MoveReport, total: number): HTMLElement {
  return h(
    'ol',
    { class: 'steps' },
    ...report.steps.map(({ name, ms }) => {
      const step = h('li', {}, h('span', {}, name), h('b', {}, `${Math.round(ms)} ms`));
      step.style.flexGrow = String(Math.max(ms, total / 50));
      return step;
    }),
  );
}

function part(name: string, count: number, form: string): HTMLElement {
  return h('p', {}, h('span', {}, name), h('b', {}, bytes(count)), h('i', {}, form));
}

function stateView({ name, fields, bytes: count }: DeviceReport): HTMLElement {
  return h(
    'details',
    {},
    h('summary', {}, `${name}: ${fields.length} fields in ${bytes(count)}`),
    h(
      'div',
      { class: 'fields', tabindex: '0', role: 'region', 'aria-label': `State of ${name}` },
      h(
        'dl',
        {},
        ...fields.map(({ name: field, value }) => h('div', {}, h('dt', {}, field), h('dd', {}, value))),
      ),
    ),
  );
}
