#!/usr/bin/env node
import { isStateError } from '@virtkit/vmstate';
import { Command, CommanderError } from 'commander';
import { examine, matches } from './device.ts';
import { diff } from './diff.ts';
import { explainText } from './explain.ts';
import { readText } from './input.ts';
import { type InspectOptions, inspect } from './inspect.ts';
import { UsageError } from './live/address.ts';
import { addLiveCommands } from './live/commands.ts';
import { type Read, readInput } from './read.ts';
import { stepsText } from './steps.ts';
import { verify } from './verify.ts';

/** 0 fine, 1 findings, 2 usage, 3 unreadable. */
const EXIT = { FINE: 0, FINDINGS: 1, USAGE: 2, UNREADABLE: 3 } as const;

const program = new Command('virtkit')
  .description('virtio devices in QEMU migration streams: every field by name')
  .addHelpText(
    'after',
    '\nFILE may be gzipped; - is standard input.\nExit codes: 0 fine, 1 findings, 2 usage, 3 unreadable.',
  )
  .exitOverride();

program
  .command('inspect')
  .argument('<file>', 'migration stream, libvirt save file, or -')
  .description('print the virtio devices of a stream')
  .option('--json', 'machine-readable, see schema/inspect.schema.json')
  .option('--device <name>', 'only sections whose name has this in it, of any kind')
  .option('--path <path>', 'only this field and what is in it, such as queues[0].desc')
  .option('--hex', 'every field with its byte range and bytes')
  .action(async (file: string, options: InspectOptions) => {
    const read = await readInput(file, false);
    await write(inspect(read, options));
    finish(read, examine(read.stream).some(({ error }) => error !== undefined) ? EXIT.UNREADABLE : EXIT.FINE);
  });

program
  .command('verify')
  .argument('<file>', 'migration stream, libvirt save file, or -')
  .description('decode, encode, compare; check what the fields promise each other')
  .option('--json', 'machine-readable')
  .action(async (file: string, options: { readonly json?: boolean }) => {
    const read = await readInput(file, true);
    const { text, clean } = verify(read, options.json === true);
    await write(text);
    finish(read, clean ? EXIT.FINE : EXIT.FINDINGS);
  });

program
  .command('steps')
  .argument('<file>', 'migration stream, libvirt save file, or -')
  .description('the three columns of the save and load procedure, as they happen')
  .option('--device <name>', 'only sections whose name has this in it')
  .action(async (file: string, options: { readonly device?: string }) => {
    const read = await readInput(file, false);
    const devices = examine(read.stream).filter(({ device }) => matches(device.section, options.device));
    for (const examined of devices) {
      if (examined.error !== undefined) process.stderr.write(`${examined.error.message}\n`);
      else await write(`${stepsText(examined, 'save')}\n${stepsText(examined, 'load')}\n`);
    }
    finish(read, devices.every(({ error }) => error === undefined) ? EXIT.FINE : EXIT.UNREADABLE);
  });

program
  .command('diff')
  .argument('<a>', 'the stream to load')
  .argument('<b>', 'a stream that the destination wrote')
  .description('compare two streams by fields, and say which differences matter for a load')
  .option('--json', 'machine-readable')
  .action(async (a: string, b: string, options: { readonly json?: boolean }) => {
    const reads = [await readInput(a, false), await readInput(b, false)] as const;
    const { text, refused } = diff(...reads, options.json === true);
    await write(text);
    for (const read of reads) finish(read, refused ? EXIT.FINDINGS : EXIT.FINE);
    if (reads.some(({ error }) => error !== undefined)) process.exitCode = EXIT.UNREADABLE;
  });

program
  .command('explain')
  .argument('[text...]', "QEMU's messages, as many lines as there are; none or -: standard input")
  .description("say what QEMU's messages about a failed load mean, and what to change")
  .option('--json', 'machine-readable')
  .action(async (words: readonly string[], options: { readonly json?: boolean }) => {
    const text = words.length === 0 || words.join() === '-' ? await readText() : words.join('\n');
    const explained = explainText(text, options.json === true);
    await write(explained.text);
    if (!explained.known) process.stderr.write('virtkit: no message of a QEMU that virtkit knows\n');
    process.exitCode = explained.known ? EXIT.FINE : EXIT.FINDINGS;
  });

addLiveCommands(program, {
  write,
  say: (text) => process.stderr.write(`virtkit: ${text}\n`),
  exit: (code) => {
    process.exitCode = { fine: EXIT.FINE, findings: EXIT.FINDINGS, unreadable: EXIT.UNREADABLE }[code];
  },
});

function finish({ error }: Read, code: number): void {
  if (error !== undefined) process.stderr.write(`virtkit: ${error.message}\n`);
  process.exitCode = error !== undefined ? EXIT.UNREADABLE : code;
}

function write(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}

// a reader that goes away (head, less) is not an error
process.stdout.on('error', () => process.exit(EXIT.FINE));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.FINE : EXIT.USAGE;
  else {
    process.stderr.write(
      `virtkit: ${isStateError(error) || error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exitCode = error instanceof UsageError ? EXIT.USAGE : EXIT.UNREADABLE;
  }
}
