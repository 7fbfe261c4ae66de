import type { Overview, Stretch } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { Link } from './link.tsx';
import { inHex, inUnits } from './units.ts';

interface Props {
  readonly controller: Controller;
  readonly overview: Overview;
}

const WORDS: Readonly<Record<Stretch['kind'], string>> = {
  head: 'header and configuration',
  ram: 'guest memory',
  virtio: 'virtio devices',
  section: 'other sections',
  vmdesc: 'end and description',
  trailing: 'behind the end',
  unread: 'not read',
};

/** Ruler of the stream from its first byte to its last: once as it is, and once the device state alone. */
export function Ruler({ controller, overview }: Props) {
  const { stretches, bytes } = overview;
  const state = stretches.filter(({ kind }) => kind === 'virtio' || kind === 'section');
  const [first, last] = [state[0], state.at(-1)];
  return (
    <div class="rulers">
      <p class="legend">
        {kindsOf(stretches).map((kind) => (
          <span key={kind}>
            <span class={`swatch ${kind}`} /> {WORDS[kind]}
          </span>
        ))}
      </p>
      <Scale name="The whole stream" stretches={stretches} start={0} end={bytes} controller={controller} />
      {first !== undefined && last !== undefined && last.end - first.start < bytes && (
        <Scale
          name="Device state alone"
          stretches={state}
          start={first.start}
          end={last.end}
          controller={controller}
        />
      )}
    </div>
  );
}

function kindsOf(stretches: readonly Stretch[]): Stretch['kind'][] {
  return [...new Set(stretches.map(({ kind }) => kind))];
}

interface ScaleProps {
  readonly name: string;
  readonly stretches: readonly Stretch[];
  readonly start: number;
  readonly end: number;
  readonly controller: Controller;
}

/**
 * Scale of the ruler. Stretches that are narrower than a pixel or so are drawn with their neighbours of the same kind.
 */
function Scale({ name, stretches, start, end, controller }: ScaleProps) {
  const total = Math.max(1, end - start);
  return (
    <figure>
      <figcaption>
        {name}: {inHex(start)} to {inHex(end)}, {inUnits(total)}
      </figcaption>
      <div class="ruler">
        {joined(stretches, total / 1500).map((stretch) => (
          <Piece key={stretch.start} stretch={stretch} total={total} controller={controller} />
        ))}
      </div>
    </figure>
  );
}

function joined(stretches: readonly Stretch[], least: number): Stretch[] {
  const found: Stretch[] = [];
  for (const stretch of stretches) {
    const last = found.at(-1);
    const small = stretch.end - stretch.start < least;
    if (last !== undefined && small && last.kind === stretch.kind && last.end - last.start < least)
      found[found.length - 1] = { kind: last.kind, name: last.name, start: last.start, end: stretch.end };
    else found.push(stretch);
  }
  return found;
}

function Piece({
  stretch,
  total,
  controller,
}: {
  readonly stretch: Stretch;
  readonly total: number;
  readonly controller: Controller;
}) {
  const { kind, name, start, end, section } = stretch;
  const bytes = end - start;
  const title = `${name}: ${inUnits(bytes)} at ${inHex(start)}`;
  const style = { flexGrow: bytes / total };
  if (section === undefined)
    return <span class={`piece ${kind}`} style={style} title={title} role="img" aria-label={title} />;
  return (
    <span class={`piece ${kind}`} style={style} title={title}>
      <Link controller={controller} to={{ page: 'section', section }}>
        <span class="hidden">{title}</span>
      </Link>
    </span>
  );
}
