// The inspector as a page of its own. `?url=…&name=…` opens a file of the same host.
import { mount } from '../index.ts';
import '../style.css';
import workerUrl from '../worker.ts?worker&url';

/**
 * Makes a worker that has the page's policy. One that is loaded from an address has the policy that comes with that
 * file, and static hosts send none. One that is made of a few words inherits the page's, and may ask nobody for
 * anything either.
 */
function strictWorker(): Worker {
  const url = new URL(workerUrl, import.meta.url).href;
  const words = new Blob([`import ${JSON.stringify(url)};`], { type: 'text/javascript' });
  return new Worker(URL.createObjectURL(words), { type: 'module' });
}

const element = document.getElementById('inspector');
if (element !== null) {
  const inspector = mount(element, { worker: strictWorker });
  const asked = new URLSearchParams(location.search);
  const url = asked.get('url');
  if (url !== null) void inspector.openUrl(url, asked.get('name') ?? url);
}
