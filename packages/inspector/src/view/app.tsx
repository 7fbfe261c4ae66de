import { useEffect, useReducer } from 'preact/hooks';
import type { Overview as OverviewModel } from '../model/types.ts';
import { Check } from './check.tsx';
import type { Controller } from './controller.ts';
import { Link } from './link.tsx';
import { Overview } from './overview.tsx';
import { Paste } from './paste.tsx';
import { SectionPage } from './section-page.tsx';
import { counted, inUnits } from './units.ts';
import { OpenButton, Reading, useDrop, Welcome } from './welcome.tsx';

/** Draws the whole inspector. */
export function App({ controller }: { readonly controller: Controller }) {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => controller.subscribe(() => redraw(undefined)), [controller]);
  const { isOver, ...drop } = useDrop(controller);
  const { phase, trouble } = controller;
  return (
    <div class={`virtkit-inspector${isOver ? ' drop' : ''}`} {...drop}>
      <header class="bar">
        <strong class="brand">virtkit inspector</strong>
        {phase.at === 'open' && <span class="file">{phase.overview.name}</span>}
        <span class="space" />
        {phase.at === 'open' && <Downloads controller={controller} name={phase.overview.name} />}
        {phase.at !== 'empty' && <OpenButton controller={controller} label="Open…" />}
      </header>
      <div role="alert" class="alert" hidden={trouble === ''}>
        {trouble}
      </div>
      {phase.at === 'empty' && <Welcome controller={controller} />}
      {phase.at === 'reading' && <Reading controller={controller} {...phase} />}
      {phase.at === 'open' && <Opened controller={controller} overview={phase.overview} />}
    </div>
  );
}

interface OpenedProps {
  readonly controller: Controller;
  readonly overview: OverviewModel;
}

function Opened({ controller, overview }: OpenedProps) {
  const { route } = controller;
  return (
    <div class="open">
      <Navigation controller={controller} overview={overview} />
      <main>
        {route.page === 'overview' && <Overview controller={controller} overview={overview} />}
        {route.page === 'check' && <Check controller={controller} overview={overview} />}
        {route.page === 'paste' && <Paste controller={controller} />}
        {route.page === 'section' && (
          <SectionPage
            key={route.section}
            controller={controller}
            overview={overview}
            number={route.section}
            field={route.field}
          />
        )}
      </main>
    </div>
  );
}

function Navigation({ controller, overview }: OpenedProps) {
  const { route } = controller;
  const isAt = (section: number) => route.page === 'section' && route.section === section;
  const others = overview.sections.flatMap((section, number) =>
    section.device === undefined ? [{ section, number }] : [],
  );
  return (
    <nav class="side" aria-label="Parts of the stream">
      <Link controller={controller} to={{ page: 'overview' }} current={route.page === 'overview'}>
        Overview
      </Link>
      <Link controller={controller} to={{ page: 'check' }} current={route.page === 'check'}>
        Does it load there?
      </Link>
      <Link controller={controller} to={{ page: 'paste' }} current={route.page === 'paste'}>
        Paste something
      </Link>
      <h2>{counted(overview.devices.length, 'virtio device')}</h2>
      <ul>
        {overview.devices.map((card) => (
          <li key={card.section}>
            <Link
              controller={controller}
              to={{ page: 'section', section: card.section }}
              current={isAt(card.section)}
            >
              <span>{card.name}</span>
              <span class="dim">{card.path}</span>
              {card.findings.length > 0 && <span class="badge">{card.findings.length}</span>}
            </Link>
          </li>
        ))}
      </ul>
      <details open={others.some(({ number }) => isAt(number))}>
        <summary>{counted(others.length, 'other section')}</summary>
        <ul>
          {others.map(({ section, number }) => (
            <li key={number}>
              <Link controller={controller} to={{ page: 'section', section: number }} current={isAt(number)}>
                <span class="cut">{section.idstr}</span>
                <span class="dim">{inUnits(section.size)}</span>
              </Link>
            </li>
          ))}
        </ul>
      </details>
    </nav>
  );
}

function Downloads({ controller, name }: { readonly controller: Controller; readonly name: string }) {
  const download = async (): Promise<void> => {
    const url = URL.createObjectURL(new Blob([await controller.json(true)], { type: 'application/json' }));
    const link = document.createElement('a');
    link.href = url;
    link.download = `${name}.json`;
    link.click();
    // the browser has taken hold of it by then
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  };
  return (
    <button type="button" onClick={() => void download()}>
      JSON
    </button>
  );
}
