import wasmUrl from 'v86/build/v86.wasm?url';

/** What a v86 instance is made of. The files are made by `scripts/prepare.ts`. */
export interface Assets {
  readonly wasm: WebAssembly.Module;
  readonly bios: ArrayBuffer;
  readonly vgaBios: ArrayBuffer;
  /** A guest that has booted and waits for its name. Undefined: boot {@link kernel}. */
  readonly snapshot: ArrayBuffer | undefined;
  /** Fetched only if they are needed. */
  kernel(): Promise<{ readonly bzimage: ArrayBuffer; readonly initrd: ArrayBuffer }>;
}

const base = new URL(`${import.meta.env.BASE_URL}guest/`, self.location.origin);

async function get(name: string): Promise<Response> {
  const response = await fetch(new URL(name, base));
  // a server for pages answers with its first page to what it does not have
  const found = response.ok && !(response.headers.get('content-type') ?? '').startsWith('text/html');
  if (!found) throw new Error(`${name} is not there (${response.status}): run "npm run prepare:guest"`);
  return response;
}

async function getBytes(name: string): Promise<ArrayBuffer> {
  return (await get(name)).arrayBuffer();
}

async function getSnapshot(): Promise<ArrayBuffer | undefined> {
  const response = await get('snapshot.gzip').catch(() => undefined);
  if (response?.body == null) return undefined;
  return new Response(response.body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}

export async function loadAssets(): Promise<Assets> {
  const [wasm, bios, vgaBios, snapshot] = await Promise.all([
    WebAssembly.compileStreaming(fetch(wasmUrl)),
    getBytes('bios.bin'),
    getBytes('vgabios.bin'),
    getSnapshot(),
  ]);
  const kernel = async () => {
    const [bzimage, initrd] = await Promise.all([getBytes('bzimage'), getBytes('initrd')]);
    return { bzimage, initrd };
  };
  return { wasm, bios, vgaBios, snapshot, kernel };
}
