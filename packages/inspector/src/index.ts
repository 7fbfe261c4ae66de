/**
 * The inspector: a page, or a part of one, that opens migration streams.
 *
 * You bring:  an element of a page, and the style sheet `@virtkit/inspector/style.css`.
 * You get:    a stream's machine, memory, sections and virtio devices, every field beside its bytes. It is read in a worker.
 * Not here:   a server. The package has the page ready-made in `dist/page`, for any static host and any path.
 * @packageDocumentation
 */
import { h, render } from 'preact';
import { App } from './view/app.tsx';
import { Controller } from './view/controller.ts';

/** Options of an inspector. */
export interface InspectorOptions {
  /** Makes the worker in which streams are read. Default: the package's own, from a file beside this one. */
  readonly worker?: () => Worker;
}

/** Inspector in a page. */
export interface Inspector {
  /** Opens a file, as if a person had dropped it. Resolves when it is read, whatever came of it. */
  openFile(file: Blob, name: string): Promise<void>;
  /** Opens what a URL of the page's own host has, as {@link openFile} does a file. */
  openUrl(url: string, name: string): Promise<void>;
  /** Takes the inspector out of the page, and ends its worker. */
  close(): void;
}

/** Puts an inspector into `element`, which is emptied. */
export function mount(element: HTMLElement, { worker = ownWorker }: InspectorOptions = {}): Inspector {
  const controller = new Controller(worker());
  render(h(App, { controller }), element);
  return {
    openFile: (file, name) => controller.openFile(file, name),
    openUrl: (url, name) => controller.openUrl(url, name),
    close: () => {
      render(null, element);
      controller.close();
    },
  };
}

function ownWorker(): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
}
