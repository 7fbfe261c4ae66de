import type { Command } from 'commander';
import type { TlsOptions } from './address.ts';

/** Exit codes and output, as the program has them. */
export interface Terminal {
  write(text: string): Promise<void>;
  /** Writes to stderr. */
  say(text: string): void;
  exit(code: 'fine' | 'findings' | 'unreadable'): void;
}

const ADDRESS = 'tcp:HOST:PORT or unix:PATH, as QEMU writes it';

function withTls(command: Command): Command {
  return command
    .option('--tls-ca <file>', 'TLS: certificate authority that the other side must have (PEM)')
    .option('--tls-cert <file>', 'TLS: own certificate (PEM)')
    .option('--tls-key <file>', 'TLS: own key (PEM)')
    .option('--tls-hostname <name>', "TLS: name in the other side's certificate");
}

/** Adds `receive`, `send` and `proxy`: both ends of a live migration. */
export function addLiveCommands(program: Command, terminal: Terminal): void {
  withTls(program.command('receive'))
    .argument('<address>', `where QEMU's "migrate" is to connect: ${ADDRESS}`)
    .option('-o, --output <file>', 'save the stream there; the file appears when it is whole')
    .option('--json', 'show the devices machine-readable')
    .description('take an incoming migration to its end, and show or save it')
    .action((address: string, options: TlsOptions & { readonly output?: string; readonly json?: boolean }) =>
      runReceive(terminal, address, options),
    );
  withTls(program.command('send'))
    .argument('<file>', 'migration stream (may be gzipped), or -')
    .argument('<address>', `where a QEMU waits with -incoming: ${ADDRESS}`)
    .option('--wait <seconds>', 'how long to wait for it to listen', '10')
    .description('feed a QEMU that waits with -incoming')
    .action((file: string, address: string, options: TlsOptions & { readonly wait: string }) =>
      runSend(terminal, file, address, options),
    );
  withTls(program.command('proxy'))
    .argument('<listen>', `where the source is to connect: ${ADDRESS}`)
    .argument('<destination>', `where the destination waits with -incoming: ${ADDRESS}`)
    .option('--strict', 'refuse for warnings as well')
    .description(
      'stand between two QEMUs: pass RAM on, check the virtio devices before the destination gets them',
    )
    .action((listen: string, destination: string, options: TlsOptions & { readonly strict?: boolean }) =>
      runProxy(terminal, listen, destination, options),
    );
}

async function runReceive(
  { write, say, exit }: Terminal,
  where: string,
  options: TlsOptions & { readonly output?: string; readonly json?: boolean },
): Promise<void> {
  const [{ accept, parseAddress, tlsFiles }, { receive }, { inspect }, { PartFile }, { refuseShared }] =
    await Promise.all([
      import('./address.ts'),
      import('./receive.ts'),
      import('../inspect.ts'),
      import('../part-file.ts'),
      import('../files.ts'),
    ]);
  const address = parseAddress(where);
  if (options.output !== undefined)
    refuseShared(
      [{ what: 'the output', path: options.output }],
      [
        ...tlsFiles(options),
        ...(address.kind === 'unix' ? [{ what: 'the socket', path: address.path }] : []),
      ],
    );
  // a file that cannot be written is better known before somebody connects
  const file = options.output === undefined ? undefined : new PartFile(options.output);
  const socket = await accept(address, options, (bound) => say(`waiting on ${bound}`)).catch(
    (error: unknown) => {
      file?.discard();
      throw error;
    },
  );
  const received = await receive(socket, file);
  if (received.broken !== undefined || received.error !== undefined) {
    const saved = options.output === undefined ? '' : `; ${options.output} was not written`;
    say(`${received.error?.message ?? received.broken}${saved}`);
    exit('unreadable');
    return;
  }
  if (options.output === undefined || options.json === true)
    await write(inspect(received, options.json === true ? { json: true } : {}).text);
  if (options.output !== undefined) say(`${received.bytes} bytes in ${options.output}`);
  exit('fine');
}

async function runSend(
  { say, exit }: Terminal,
  file: string,
  where: string,
  options: TlsOptions & { readonly wait: string },
): Promise<void> {
  const [{ dial, parseAddress, showAddress }, { send }, { checkReadable }, { UsageError }] =
    await Promise.all([
      import('./address.ts'),
      import('./send.ts'),
      import('../input.ts'),
      import('../usage.ts'),
    ]);
  const address = parseAddress(where);
  const seconds = Number(options.wait);
  if (!(seconds >= 0)) throw new UsageError(`--wait ${options.wait}: a number of seconds expected`);
  checkReadable(file);
  const socket = await dial(address, options, 1000 * seconds);
  const { bytes, refused } = await send(socket, file);
  say(refused ?? `${bytes} bytes sent to ${showAddress(address)}`);
  exit(refused === undefined ? 'fine' : 'findings');
}

async function runProxy(
  { say, exit }: Terminal,
  listen: string,
  destination: string,
  options: TlsOptions & { readonly strict?: boolean },
): Promise<void> {
  const [{ accept, dial, parseAddress }, { judge, proxy }, { rehearse }, { titleOf }] = await Promise.all([
    import('./address.ts'),
    import('./proxy.ts'),
    import('./rehearse.ts'),
    import('@virtkit/migration'),
  ]);
  const [from, to] = [parseAddress(listen), parseAddress(destination)];
  rehearse();
  const source = await accept(from, options, (bound) => say(`waiting on ${bound}`));
  const target = await dial(to, options, 10_000).catch((error: unknown) => {
    source.destroy();
    throw error;
  });
  const { bytes, refused, broken, devices, unchecked, returnPath } = await proxy(
    source,
    target,
    judge(options.strict === true),
  );
  if (refused !== undefined) {
    say(`refused: ${refused}`);
    say(
      returnPath
        ? 'The source goes on running.'
        : 'The source may take the migration for done, for it has no return path: "cont" lets its guest go on. With the capability return-path it waits.',
    );
    exit('findings');
    return;
  }
  if (broken !== undefined) {
    say(`the connection broke after ${bytes} bytes: ${broken}`);
    exit('unreadable');
    return;
  }
  const names = devices.map(({ device }) => titleOf(device)).join(', ');
  say(
    unchecked
      ? `${bytes} bytes passed on, unchecked: postcopy`
      : `${bytes} bytes passed on; checked: ${names || 'no virtio device'}`,
  );
  exit('fine');
}
