import { useState } from 'preact/hooks';
import type { FieldNode, Layer, Overview, SectionDetail, SectionRow } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { fieldAt, fieldNamed, ofLayer } from './fields.ts';
import { Hex } from './hex.tsx';
import { meaningOf } from './meanings.ts';
import { Findings } from './overview.tsx';
import { Features, Queues, Values } from './queues.tsx';
import { Tree } from './tree.tsx';
import { inHex, inUnits } from './units.ts';

interface Props {
  readonly controller: Controller;
  readonly overview: Overview;
  readonly number: number;
  readonly field: string | undefined;
}

const LAYERS: readonly (readonly [Layer, string])[] = [
  ['core', 'Virtio core'],
  ['transport', 'Transport'],
  ['device', 'Device'],
];

/** Page of a section with all its fields. */
export function SectionPage({ controller, overview, number, field }: Props) {
  const section = overview.sections[number];
  if (section === undefined) return <p>The stream has no section {number}.</p>;
  const card = section.device === undefined ? undefined : overview.devices[section.device];
  const detail = controller.detail(number);
  const wrong = new Set(card?.findings.map(({ path }) => path));
  return (
    <div class="section-page">
      <h1>{card?.title ?? section.idstr}</h1>
      <p class="dim">
        {card !== undefined && `${card.transport}, `}section {section.id}, version {section.versionId},{' '}
        {inUnits(section.size)} at {inHex(section.offset)}
        {card !== undefined && card.statusBits.length > 0 && `, ${card.statusBits.join(' ')}`}
      </p>
      <Findings of={card?.findings ?? []} />
      {detail === undefined ? (
        <p aria-busy="true">Reading…</p>
      ) : (
        <Parts
          controller={controller}
          section={section}
          number={number}
          detail={detail}
          path={field}
          wrong={wrong}
        />
      )}
    </div>
  );
}

interface PartsProps {
  readonly controller: Controller;
  readonly section: SectionRow;
  readonly number: number;
  readonly detail: SectionDetail;
  /** Path of the field that is selected. */
  readonly path: string | undefined;
  readonly wrong: ReadonlySet<string>;
}

const TABS = ['Fields', 'Queues', 'Features', 'Configuration'] as const;

function Parts(props: PartsProps) {
  const { virtio } = props.detail;
  const [tab, setTab] = useState<(typeof TABS)[number]>('Fields');
  if (virtio === undefined) return <FieldsAndBytes {...props} />;
  const turn = (event: KeyboardEvent): void => {
    const by = { ArrowRight: 1, ArrowLeft: TABS.length - 1 }[event.key];
    const next = by === undefined ? undefined : TABS[(TABS.indexOf(tab) + by) % TABS.length];
    if (next === undefined) return;
    setTab(next);
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`#tab-${next}`)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label="Parts of the device" onKeyDown={turn}>
        {TABS.map((name) => (
          <button
            key={name}
            id={`tab-${name}`}
            type="button"
            role="tab"
            aria-selected={tab === name}
            aria-controls="tab-panel"
            tabIndex={tab === name ? 0 : -1}
            onClick={() => setTab(name)}
          >
            {name}
          </button>
        ))}
      </div>
      <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} class="panel">
        {tab === 'Fields' && <FieldsAndBytes {...props} />}
        {tab === 'Queues' && (
          <Queues
            controller={props.controller}
            section={props.number}
            queues={virtio.queues}
            requests={virtio.requests}
          />
        )}
        {tab === 'Features' && <Features features={virtio.features} />}
        {tab === 'Configuration' && (
          <div class="two">
            <div>
              <h2>Configuration space of the device</h2>
              <Values pairs={virtio.config} />
            </div>
            <div>
              <h2>Transport</h2>
              <Values pairs={virtio.transport} />
            </div>
          </div>
        )}
      </div>
    </>
  );
}

function FieldsAndBytes({ controller, section, number, detail, path, wrong }: PartsProps) {
  const { fields, virtio } = detail;
  const field = path === undefined ? undefined : fieldNamed(fields, path);
  const select = (to: string): void => controller.go({ page: 'section', section: number, field: to }, true);
  const onByte = (at: number): void => {
    const found = fieldAt(fields, at);
    if (found !== undefined) select(found.path);
  };
  const layers =
    virtio === undefined
      ? [['core', 'Fields', fields] as const]
      : LAYERS.map(([layer, title]) => [layer, title, ofLayer(fields, layer)] as const);
  return (
    <div class="fields-and-bytes">
      {fields.length === 0 && <p>Nothing tells what is in this section: it is shown as bytes.</p>}
      <div class={`layers${virtio === undefined ? ' one' : ''}`}>
        {layers
          .filter(([, , own]) => own.length > 0)
          .map(([layer, title, own]) => (
            <section key={layer} class={`layer ${layer}`}>
              <h2>{title}</h2>
              <Tree label={title} fields={own} selected={field?.path} wrong={wrong} onSelect={select} />
            </section>
          ))}
      </div>
      <div class="bytes-and-field">
        <Hex controller={controller} section={section} number={number} marked={field} onByte={onByte} />
        <Selected field={field} />
      </div>
    </div>
  );
}

/** Description of the field that is selected. */
function Selected({ field }: { readonly field: FieldNode | undefined }) {
  if (field === undefined)
    return <p class="selected dim">Select a field to see its bytes, or a byte to see its field.</p>;
  const { path, wire, type, start, end, value, means } = field;
  const meaning = meaningOf(path);
  return (
    <section class="selected" aria-label="Selected field" aria-live="polite">
      <h3>
        <code>{path}</code>
      </h3>
      {meaning !== undefined && <p>{meaning.text}</p>}
      <dl class="pairs">
        {value !== undefined && (
          <>
            <dt>value</dt>
            <dd>
              <code>{value}</code> {means}
            </dd>
          </>
        )}
        <dt>QEMU</dt>
        <dd>
          <code>{wire ?? path.split('.').at(-1)}</code>, {type}
        </dd>
        <dt>bytes</dt>
        <dd>
          {end - start} at <code>{inHex(start)}</code>
        </dd>
        {meaning?.spec !== undefined && (
          <>
            <dt>defined</dt>
            <dd>{meaning.spec}</dd>
          </>
        )}
      </dl>
    </section>
  );
}
