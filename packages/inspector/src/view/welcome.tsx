import { useRef, useState } from 'preact/hooks';
import type { Progress } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { Paste } from './paste.tsx';
import { inUnits } from './units.ts';

interface Props {
  readonly controller: Controller;
}

/** Page while nothing is open. */
export function Welcome({ controller }: Props) {
  return (
    <main class="welcome">
      <h1>Open a migration stream</h1>
      <p>
        A file that QEMU&apos;s <code>migrate</code>, <code>virsh save</code> or{' '}
        <code>virsh managedsave</code> wrote; <code>.gz</code> and <code>.zst</code> are unpacked. Every
        virtio device in it is shown with each field by name, beside its bytes.
      </p>
      <OpenButton controller={controller} label="Choose a file…" primary />
      <p class="dim">
        Or drop it anywhere on this page. It may be of any size: it is read in pieces and stays on this
        computer. The page may not send anything to anybody, and its security policy sees to that.
      </p>
      <Paste controller={controller} />
    </main>
  );
}

/** Button that lets a person choose a file. */
export function OpenButton({
  controller,
  label,
  primary = false,
}: Props & { readonly label: string; readonly primary?: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  const take = (): void => {
    const file = input.current?.files?.[0];
    if (file !== undefined) void controller.openFile(file, file.name);
    // the same file may be chosen again
    if (input.current !== null) input.current.value = '';
  };
  return (
    <>
      <input ref={input} type="file" hidden aria-label="Stream" onChange={take} />
      <button type="button" class={primary ? 'primary' : undefined} onClick={() => input.current?.click()}>
        {label}
      </button>
    </>
  );
}

/** Page while a stream is read. */
export function Reading({
  controller,
  name,
  progress,
}: Props & { readonly name: string; readonly progress: Progress }) {
  const { done, total, machine } = progress;
  return (
    <main class="welcome">
      <h1>Reading {name}</h1>
      <progress
        aria-label="Bytes read"
        max={total ?? 1}
        {...(total === undefined ? {} : { value: Math.min(done, total) })}
      />
      <p class="dim">
        {inUnits(done)}
        {total === undefined ? '' : ` of ${inUnits(total)}`}
        {machine === undefined ? '' : `, machine ${machine}`}
      </p>
      <button type="button" onClick={() => controller.cancel()}>
        Cancel
      </button>
    </main>
  );
}

/** Makes handlers for files that are dropped, and tells whether one is above. */
export function useDrop(controller: Controller) {
  const [isOver, setOver] = useState(false);
  return {
    isOver,
    onDragOver: (event: DragEvent) => {
      event.preventDefault();
      setOver(true);
    },
    onDragLeave: () => setOver(false),
    onDrop: (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      const file = event.dataTransfer?.files[0];
      if (file !== undefined) void controller.openFile(file, file.name);
    },
  };
}
