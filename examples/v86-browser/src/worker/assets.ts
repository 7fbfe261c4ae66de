import wasmUrl from 'v86/build/v86.wasm?url';

/** What a v86 instance is made of. The files are made by `scripts/prepare.ts`. */
export interface Assets {
  readonly wasm: WebAssembly.Module;
  readonly bios: ArrayBuffer;
  readonly vgaBios: ArrayBuffer;
  /** The options of v86 that the snapshot was made with. */
  readonly shape: Shape;
  /** A guest that has booted and waits for its name. Undefined: boot {@link kernel}. */
  readonly snapshot: ArrayBuffer | undefined;
  /** Fetched only if they are needed. */
  kernel(): Promise<{ readonly bzimage: ArrayBuffer; readonly initrd: ArrayBuffer }>;
}

export interface Shape {
  readonly memory_size: number;
  readonly vga_memory_size: number;
  readonly cmdline: string;
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

async function getShape(): Promise<Shape> {
  const shape: Partial<Shape> = await (await get('machine.json')).json();
  const { memory_size, vga_memory_size, cmdline } = shape;
  if (memory_size === undefined || vga_memory_size === undefined || cmdline === undefined)
    throw new Error('machine.json: memory_size, vga_memory_size and cmdline expected');
  return { memory_size, vga_memory_size, cmdline };
}

async function getSnapshot(): Promise<ArrayBuffer | undefined> {
  const response = await get('snapshot.gzip').catch(() => undefined);
  if (response?.body == null) return undefined;
  return new Response(response.body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}

export async function loadAssets(): Promise<Assets> {
  const [wasm, bios, vgaBios, shape, snapshot] = await Promise.all([
    WebAssembly.compileStreaming(fetch(wasmUrl)),
    getBytes('bios.bin'),
    getBytes('vgabios.bin'),
    getShape(),
    getSnapshot(),
  ]);
  const kernel = async () => {
    const [bzimage, initrd] = await Promise.all([getBytes('bzimage'), getBytes('initrd')]);
    return { bzimage, initrd };
  };
  return { wasm, bios, vgaBios, shape, snapshot, kernel };
}
