import type { DeviceCard, Overview as OverviewModel, RamBlockMap, Trouble } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { Link } from './link.tsx';
import { RamMap } from './ram-map.tsx';
import { Ruler } from './ruler.tsx';
import { counted, inHex, inUnits } from './units.ts';

interface Props {
  readonly controller: Controller;
  readonly overview: OverviewModel;
}

/** Draws a stream at a glance. */
export function Overview({ controller, overview }: Props) {
  const { error, findings, bytes } = overview;
  return (
    <>
      <h1>{overview.name}</h1>
      {error !== undefined && (
        <section class="broken" aria-label="Where the stream broke">
          <strong>Not read to its end.</strong> {error.reason}
          {error.offset !== undefined && ` (at byte ${inHex(error.offset)})`}. Read were {inUnits(bytes)}:{' '}
          {counted(overview.sections.length, 'section')}, {counted(overview.devices.length, 'virtio device')},{' '}
          {counted(overview.ram.length, 'RAM block')}.
        </section>
      )}
      <Findings of={findings} />
      <Facts overview={overview} />
      <h2>Bytes</h2>
      <Ruler controller={controller} overview={overview} />
      <h2>Virtio devices</h2>
      {overview.devices.length === 0 ? (
        <p>None were found.</p>
      ) : (
        <ul class="cards">
          {overview.devices.map((card) => (
            <Card key={card.section} controller={controller} card={card} />
          ))}
        </ul>
      )}
      <h2>Guest memory</h2>
      {overview.ram.length === 0 ? <p>None is in this stream.</p> : <Ram blocks={overview.ram} />}
    </>
  );
}

function Facts({ overview }: { readonly overview: OverviewModel }) {
  const { machine, since, bytes, fileBytes, packing, libvirtBytes, ram, sections, capabilities } = overview;
  const size =
    packing === undefined || fileBytes === undefined ? '' : `, ${inUnits(fileBytes)} as ${packing}`;
  const memory = ram.reduce((sum, { length }) => sum + length, 0);
  const rows: readonly (readonly [string, string])[] = [
    ['Machine', machine ?? 'not told: machine types up to 2.3'],
    [
      'QEMU',
      since === undefined ? 'not told by this machine type' : `${since} or newer, by the machine type`,
    ],
    ['Stream', `${inUnits(bytes)}${size}`],
    ...(libvirtBytes === undefined
      ? []
      : [['libvirt', `save file with a header of ${inUnits(libvirtBytes)}`] as const]),
    ['Sections', String(sections.length)],
    ['Memory', `${inUnits(memory)} in ${counted(ram.length, 'block')}`],
    ...(overview.uuid === undefined ? [] : [['UUID', overview.uuid] as const]),
    ...(capabilities.length === 0 ? [] : [['Capabilities', capabilities.join(', ')] as const]),
    ...(overview.commands.length === 0 ? [] : [['Commands', overview.commands.join(', ')] as const]),
  ];
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Card({ controller, card }: { readonly controller: Controller; readonly card: DeviceCard }) {
  const { section, name, path, transport, status, statusBits, driver, featureCount, telling } = card;
  return (
    <li class="card">
      <h3>
        <Link controller={controller} to={{ page: 'section', section }}>
          {name}
        </Link>
        <span class="dim">{path}</span>
        <span class="tag">{transport}</span>
      </h3>
      <dl class="pairs">
        <dt>status</dt>
        <dd>
          <span class={`state ${stateClass(card)}`} title={statusBits.join(' ')}>
            {status}
          </span>
          {driver !== undefined && <span class="dim"> {driver}</span>}
        </dd>
        <dt>features</dt>
        <dd>
          {featureCount ?? 'none'} <span class="dim">{telling.join(' ')}</span>
        </dd>
        <dt>queues</dt>
        <dd>{card.queues === '' ? 'none' : card.queues}</dd>
        <dt>in flight</dt>
        <dd>{card.inFlight === 0 ? 'none' : counted(card.inFlight, 'request')}</dd>
      </dl>
      <Findings of={card.findings} />
    </li>
  );
}

function stateClass({ status, findings }: DeviceCard): string {
  if (status === 'DRIVER_OK') return findings.some(({ severity }) => severity === 'error') ? 'bad' : 'good';
  return status === 'no driver' || status === 'starting' ? 'idle' : 'bad';
}

/** List of troubles, one line each; nothing where there are none. */
export function Findings({ of }: { readonly of: readonly Trouble[] }) {
  if (of.length === 0) return null;
  return (
    <ul class="findings">
      {of.map(({ severity, path, reason, offset }) => (
        <li key={`${path} ${reason}`} class={severity}>
          <strong>{severity}</strong> {path !== '' && <code>{path}</code>} {reason}
          {offset !== undefined && <span class="dim"> at byte {inHex(offset)}</span>}
        </li>
      ))}
    </ul>
  );
}

function Ram({ blocks }: { readonly blocks: readonly RamBlockMap[] }) {
  const known = blocks.filter(({ length }) => length > 0);
  return (
    <>
      <p class="legend">
        <span class="swatch content" /> sent <span class="swatch zero" /> sent as zeros{' '}
        <span class="swatch absent" /> not in the stream
      </p>
      <ul class="blocks">
        {known.map((block) => (
          <li key={block.name}>
            <div class="block-head">
              <code>{block.name}</code>
              <span>{inUnits(block.length)}</span>
              <span class="dim">{sentOf(block)}</span>
            </div>
            <RamMap block={block} />
          </li>
        ))}
      </ul>
    </>
  );
}

/** Says in words what of a block is in the stream. */
function sentOf({ pages, zeroPages, encodedPages, cells }: RamBlockMap): string {
  const sent = pages + zeroPages + encodedPages;
  if (sent > 0) return `${counted(sent, 'page')} sent, ${zeroPages} of them zero`;
  return cells.some((cell) => cell !== 0) ? 'in the file where its bitmap says so' : 'not in the stream';
}
