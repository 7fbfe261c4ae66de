import type { Overview } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { Findings } from './overview.tsx';
import { inHex, inUnits } from './units.ts';

interface Props {
  readonly controller: Controller;
  readonly overview: Overview;
  readonly number: number;
  readonly field: string | undefined;
}

/** A section in all its fields. */
export function SectionPage({ controller, overview, number }: Props) {
  const section = overview.sections[number];
  if (section === undefined) return <p>The stream has no section {number}.</p>;
  const card = section.device === undefined ? undefined : overview.devices[section.device];
  const detail = controller.detail(number);
  return (
    <>
      <h1>{card?.title ?? section.idstr}</h1>
      <p class="dim">
        section {section.id}, version {section.versionId}, {inUnits(section.size)} at {inHex(section.offset)}
      </p>
      <Findings of={card?.findings ?? []} />
      {detail === undefined ? (
        <p aria-busy="true">Reading…</p>
      ) : (
        <ul class="fields">
          {detail.fields.map(({ path, value }) => (
            <li key={path}>
              <code>{path}</code> {value}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
