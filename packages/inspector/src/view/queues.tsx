import type { FeatureRow, QueueRow, RequestRow } from '../model/types.ts';
import { Chains, Segments } from './chains.tsx';
import type { Controller } from './controller.ts';

/** Draws the queues of a device: each as a ring, with where the device stands. */
export function Queues({
  controller,
  section,
  queues,
  requests,
}: {
  readonly controller: Controller;
  /** Number of the device's section. */
  readonly section: number;
  readonly queues: readonly QueueRow[];
  readonly requests: readonly RequestRow[];
}) {
  if (queues.length === 0) return <p>The device has no queues.</p>;
  return (
    <ul class="queues">
      {queues.map((queue) => (
        <li key={queue.index} class="queue">
          <RingPicture queue={queue} />
          <div>
            <h2>Queue {queue.index}</h2>
            <dl class="pairs mono">
              {rowsOf(queue).map(([name, value]) => (
                <Pair key={name} name={name} value={value} />
              ))}
            </dl>
          </div>
          {requests.some((request) => request.queue === queue.index) && (
            <Requests
              controller={controller}
              requests={requests.filter((request) => request.queue === queue.index)}
            />
          )}
          {queue.desc !== undefined && (
            <Chains controller={controller} section={section} queue={queue.index} />
          )}
        </li>
      ))}
    </ul>
  );
}

function rowsOf(queue: QueueRow): readonly (readonly [string, string])[] {
  const { size, ring, desc, avail, used, lastAvail, usedIndex, inUse, vector } = queue;
  return [
    ['ring', `${ring}, ${size === 1 ? '1 entry' : `${size} entries`}`],
    ['desc', desc ?? 'not set up'],
    ...(avail === undefined ? [] : [['avail', avail] as const]),
    ...(used === undefined ? [] : [['used', used] as const]),
    ['next to take', `${lastAvail}${ring === 'split' && size > 0 ? `, entry ${lastAvail % size}` : ''}`],
    ...(usedIndex === undefined ? [] : [['next to write', String(usedIndex)] as const]),
    ...(inUse === undefined ? [] : [['slots in use', String(inUse)] as const]),
    ['vector', vector === undefined ? 'none' : String(vector)],
  ];
}

function Pair({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  );
}

/** Half of the picture's side, in units of the drawing. */
const MIDDLE = 60;
const RADIUS = 44;
/** Largest number of ticks. */
const TICKS_MAX = 64;

/** Draws a ring as a circle: entry 0 is on top, a hand shows the next entry to take, an arc what is in use. */
function RingPicture({ queue }: { readonly queue: QueueRow }) {
  const { index, size, lastAvail, inUse, inFlight, usedIndex } = queue;
  const entries = Math.max(size, 1);
  const ticks = Math.min(entries, TICKS_MAX);
  const used = Math.min(inUse ?? inFlight.length, entries);
  const slot = (lastAvail & 0x7fff) % entries;
  const next = point(slot / entries, RADIUS - 8);
  const says = `Queue ${index}: ring of ${size}, the device takes entry ${size === 0 ? 0 : lastAvail % entries} next, ${used} in use`;
  const length = 2 * Math.PI * RADIUS;
  return (
    <svg class="ring" viewBox={`0 0 ${2 * MIDDLE} ${2 * MIDDLE}`} role="img" aria-label={says}>
      <circle cx={MIDDLE} cy={MIDDLE} r={RADIUS} class="ring-line" />
      {Array.from({ length: ticks }, (_, n) => {
        const [from, to] = [point(n / ticks, RADIUS - 3), point(n / ticks, RADIUS + 3)];
        return <line key={n} x1={from.x} y1={from.y} x2={to.x} y2={to.y} class="ring-tick" />;
      })}
      {used > 0 && (
        <circle
          cx={MIDDLE}
          cy={MIDDLE}
          r={RADIUS}
          class="ring-used"
          stroke-dasharray={`${(length * used) / entries} ${length}`}
          transform={`rotate(${(360 * (slot - used)) / entries - 90} ${MIDDLE} ${MIDDLE})`}
        />
      )}
      <line x1={MIDDLE} y1={MIDDLE} x2={next.x} y2={next.y} class="ring-hand" />
      {usedIndex !== undefined && <UsedHand at={usedIndex / entries} />}
      <text x={MIDDLE} y={11} class="ring-zero">
        0
      </text>
    </svg>
  );
}

function UsedHand({ at }: { readonly at: number }) {
  const { x, y } = point(at, RADIUS - 8);
  return <line x1={MIDDLE} y1={MIDDLE} x2={x} y2={y} class="ring-hand used" />;
}

function point(part: number, radius: number): { readonly x: number; readonly y: number } {
  const angle = 2 * Math.PI * part - Math.PI / 2;
  return { x: MIDDLE + radius * Math.cos(angle), y: MIDDLE + radius * Math.sin(angle) };
}

function Requests({
  controller,
  requests,
}: {
  readonly controller: Controller;
  readonly requests: readonly RequestRow[];
}) {
  return (
    <ul class="requests">
      {requests.map(({ head, segments }) => (
        <li key={head}>
          <strong>in flight, head {head}</strong> <Segments controller={controller} segments={segments} />
        </li>
      ))}
    </ul>
  );
}

/** Table of the features that were negotiated, and what decides over each. */
export function Features({ features }: { readonly features: readonly FeatureRow[] }) {
  if (features.length === 0) return <p>No features were negotiated.</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a table that is wider than a phone is scrolled by keys, too
    <section class="wide" tabIndex={0} aria-label="Negotiated features">
      <table>
        <thead>
          <tr>
            <th scope="col">bit</th>
            <th scope="col">feature</th>
            <th scope="col">property</th>
            <th scope="col">on since machine</th>
            <th scope="col">specification</th>
          </tr>
        </thead>
        <tbody>
          {features.map(({ bit, name, property, machine, needs, spec }) => (
            <tr key={bit}>
              <td class="number">{bit}</td>
              <td>
                <code>{name ?? 'no name known'}</code>
              </td>
              <td>
                {property !== undefined && <code>{property}</code>} {needs}
              </td>
              <td>{machine}</td>
              <td>{spec}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Table of names and values. */
export function Values({ pairs }: { readonly pairs: readonly (readonly [string, string])[] }) {
  if (pairs.length === 0) return <p>Nothing is known of it.</p>;
  return (
    <dl class="pairs mono">
      {pairs.map(([name, value]) => (
        <Pair key={name} name={name} value={value} />
      ))}
    </dl>
  );
}
