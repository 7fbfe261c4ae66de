// An npm registry on this machine, for as long as a rehearsal takes. It knows what is published to it and asks no other.
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { runServer } from 'verdaccio';

export interface Registry {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  /** Lines of an `.npmrc` with which npm and pnpm may publish here. */
  readonly npmrc: string;
  close(): Promise<void>;
}

/** Starts a registry that keeps what it has in `folder`. */
export async function startRegistry(folder: string): Promise<Registry> {
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const config = join(folder, 'config.yaml');
  await writeFile(
    config,
    `storage: ${JSON.stringify(join(folder, 'storage'))}
listen: 127.0.0.1:${port}
auth:
  htpasswd: { file: ${JSON.stringify(join(folder, 'htpasswd'))} }
uplinks: {}
packages:
  '**': { access: $all, publish: $all, unpublish: $all }
web: { enable: false }
max_body_size: 100mb
log: { type: file, path: ${JSON.stringify(join(folder, 'log'))}, level: warn }
`,
  );
  const server = await runServer(config);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${port}/`,
    // Publishing needs a token, and nobody looks at which.
    npmrc: `//127.0.0.1:${port}/:_authToken=anybody\n`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port);
        else reject(new Error(`a TCP server without a port: ${address}`));
      });
    });
  });
}
