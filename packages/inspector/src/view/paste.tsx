import type { Diagnosis } from '@virtkit/compat';
import { useState } from 'preact/hooks';
import type { Pasted } from '../model/pasted.ts';
import type { Controller } from './controller.ts';

interface Props {
  readonly controller: Controller;
}

/** Form that takes what a person has in the clipboard, and says what it is. */
export function Paste({ controller }: Props) {
  const [pasted, setPasted] = useState<{ readonly text: string; readonly is: Pasted }>();
  const ask = (event: SubmitEvent): void => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get('text') ?? '');
    void controller.paste(text).then((is) => setPasted(is && { text, is }));
  };
  return (
    <form class="explain" onSubmit={ask}>
      <label class="whole">
        Or paste something
        <textarea
          name="text"
          rows={4}
          required
          spellcheck={false}
          placeholder="An error of QEMU, libvirt or KubeVirt; a QEMU command line or domain XML; a section or a stream as base64 or hexadecimal"
        />
      </label>
      <button type="submit">What is it?</button>
      <div aria-live="polite" class="verdicts">
        {pasted !== undefined && <Answer controller={controller} {...pasted} />}
      </div>
    </form>
  );
}

function Answer({ controller, text, is }: Props & { readonly text: string; readonly is: Pasted }) {
  if (is.kind === 'bytes') return null;
  if (is.kind === 'machine')
    return (
      <p>This is a machine, as {is.what}. Open a stream, and it is asked whether this machine loads it.</p>
    );
  return (
    <>
      {is.diagnoses.length === 0 && <p>No message in it is known to virtkit.</p>}
      {is.diagnoses.map((diagnosis) => (
        <Explained key={`${diagnosis.vms.join()} ${diagnosis.cause}`} diagnosis={diagnosis} />
      ))}
      {is.machine !== undefined && (
        <p>
          There is a {is.machine} in it as well:{' '}
          <button type="button" onClick={() => controller.askAbout(text)}>
            ask about that machine
          </button>
        </p>
      )}
    </>
  );
}

function Explained({ diagnosis: { vms, cause, cure, from } }: { readonly diagnosis: Diagnosis }) {
  return (
    <section>
      <p>
        <strong>Cause{vms.length > 0 && ` (${vms.join(', ')})`}</strong> {cause}
      </p>
      <p>
        <strong>Cure</strong> {cure}
      </p>
      {from !== undefined && (
        <p class="dim">
          <code>{from.line}</code>
        </p>
      )}
    </section>
  );
}
