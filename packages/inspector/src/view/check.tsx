import { useEffect, useState } from 'preact/hooks';
import type { CheckAnswer, PlacedVerdict } from '../model/ask.ts';
import type { Overview } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { Link } from './link.tsx';

interface Props {
  readonly controller: Controller;
}

/** Form that asks whether a target loads the stream that is open. */
export function Check({ controller, overview }: Props & { readonly overview: Overview }) {
  const [names, setNames] = useState<readonly string[]>([]);
  const [answer, setAnswer] = useState<CheckAnswer>();
  useEffect(() => void controller.targetNames().then(setNames), [controller]);
  const ask = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const [target = '', machine = '', devices = '', described = ''] = [
      'target',
      'machine',
      'devices',
      'described',
    ].map((name) => String(data.get(name) ?? '').trim());
    const question = {
      target: machine === '' ? target : `${target},machine=${machine}`,
      devices: devices
        .split('\n')
        .map((line) => line.trim().replace(/^-device\s+/, ''))
        .filter((line) => line !== ''),
      ...(described !== '' && { machine: described }),
    };
    controller.machine = described;
    void controller.check(question).then(setAnswer);
  };
  return (
    <>
      <h1>Does it load there?</h1>
      <form class="ask" onSubmit={ask}>
        <label>
          Target
          <input name="target" list="targets" required value="qemu-11.1" spellcheck={false} />
        </label>
        <datalist id="targets">
          {names.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <label>
          Machine type there
          <input name="machine" placeholder={overview.machine ?? 'as in the stream'} spellcheck={false} />
        </label>
        <label class="whole">
          Devices that are not as at the source, in QEMU&apos;s words, one a line
          <textarea name="devices" rows={2} placeholder="virtio-blk-pci,num-queues=1" spellcheck={false} />
        </label>
        <label class="whole">
          The machine there, if it is known: QEMU command line, or domain XML
          <textarea
            name="described"
            rows={3}
            placeholder={
              overview.hasDomain
                ? 'as in the header of this save file'
                : 'qemu-system-x86_64 -M q35 …, or what virsh dumpxml prints'
            }
            spellcheck={false}
            defaultValue={controller.machine}
          />
        </label>
        <button type="submit" class="primary">
          Check
        </button>
      </form>
      <div aria-live="polite">
        {answer !== undefined && <Answer controller={controller} answer={answer} />}
      </div>
    </>
  );
}

const WORDS = {
  loads: 'It loads, with the devices that the source had.',
  depends: 'It loads, if what is said below holds.',
  refused: 'It is refused.',
  unknown: 'virtkit cannot say whether it loads.',
} as const;

function Answer({ controller, answer }: Props & { readonly answer: CheckAnswer }) {
  if ('wrong' in answer) return <p class="answer refused">{answer.wrong}</p>;
  return (
    <>
      <p class={`answer ${answer.answer}`}>{WORDS[answer.answer]}</p>
      <ul class="verdicts">
        {answer.verdicts.map((verdict) => (
          <VerdictItem key={`${verdict.path} ${verdict.reason}`} controller={controller} verdict={verdict} />
        ))}
      </ul>
    </>
  );
}

function VerdictItem({ controller, verdict }: Props & { readonly verdict: PlacedVerdict }) {
  const { severity, path, reason, qemuSays, feature, property, machine, spec, advice, section, field } =
    verdict;
  const about = [
    feature,
    property === undefined ? undefined : `property ${property}`,
    machine === undefined ? undefined : `on since machine ${machine}`,
    spec,
  ].filter((part) => part !== undefined);
  const place = { page: 'section', section: section ?? 0, ...(field !== undefined && { field }) } as const;
  return (
    <li class={severity}>
      <p>
        <strong>{severity}</strong>{' '}
        {section === undefined ? (
          <code>{path}</code>
        ) : (
          <Link controller={controller} to={place}>
            {path}
          </Link>
        )}
      </p>
      <p>{reason}</p>
      {qemuSays !== undefined && (
        <p>
          QEMU says <code>{qemuSays}</code>
        </p>
      )}
      {about.length > 0 && <p class="dim">{about.join(', ')}</p>}
      {advice !== undefined && <p>What to do: {advice}</p>}
      {verdict.convertible === true && <p>virtkit convert makes it load.</p>}
    </li>
  );
}
