#!/usr/bin/env node
import { existsSync } from 'node:fs';
import type { Answer } from '@virtkit/compat';
import { isStateError } from '@virtkit/vmstate';
import { Command, CommanderError, Option } from 'commander';
import type { TargetWords } from './check.ts';
import { examine, matches } from './device.ts';
import type { FleetWords } from './fleet/command.ts';
import { addHelpCommands } from './help/commands.ts';
import { readText } from './input.ts';
import { inspect } from './inspect.ts';
import type { InspectOptions } from './inspect-options.ts';
import { addLiveCommands, type Terminal } from './live/commands.ts';
import { say, write } from './output.ts';
import { type Read, readInput } from './read.ts';
import { addServeCommand } from './serve/commands.ts';
import { stepsText } from './steps.ts';
import { isUsageError } from './usage.ts';
import { verify } from './verify.ts';
import { VERSION } from './version.ts';
import type { VisitOptions } from './visit.ts';

// Commands that few runs need are loaded when they are called: starting takes longer than reading most streams.

/** Exit codes as documented in the README. */
const EXIT = { FINE: 0, FINDINGS: 1, USAGE: 2, UNREADABLE: 3, UNKNOWN: 4 } as const;

const program = new Command('virtkit')
  .description('virtio devices in QEMU migration streams: every field by name')
  .addHelpText(
    'after',
    '\nFILE may be gzipped; - is standard input. IMAGE#NAME is what savevm left in a qcow2 image as snapshot NAME.\nExit codes: 0 fine, 1 findings or nothing of that name, 2 usage, 3 unreadable, 4 not known to virtkit.',
  )
  .version(VERSION, '-V, --version')
  .exitOverride();

program
  .command('inspect')
  .argument('<file>', 'migration stream, libvirt save file, qcow2 image, or -')
  .description('print the virtio devices of a stream')
  .option('--all', 'all fields of all devices, rather than a table of them')
  .option('--json', 'machine-readable, see schema/inspect.schema.json')
  .option('--device <name>', 'only sections whose name has this in it, of any kind')
  .option('--path <path>', 'only this field and what is in it, such as queues[0].desc')
  .option('--hex', 'every field with its byte range and bytes')
  .action(async (file: string, options: InspectOptions) => {
    const read = await readInput(file, false);
    const { text, missing, readable } = inspect(read, options);
    await write(text);
    if (missing !== undefined) say(missing);
    finish(read, !readable ? EXIT.UNREADABLE : missing === undefined ? EXIT.FINE : EXIT.FINDINGS);
  });

program
  .command('verify')
  .argument('<file>', 'migration stream, libvirt save file, qcow2 image, or -')
  .description('decode, encode, compare; check what the fields promise each other')
  .option('--json', 'machine-readable, see schema/verify.schema.json')
  .action(async (file: string, options: { readonly json?: boolean }) => {
    const read = await readInput(file, true);
    const { text, clean } = verify(read, options.json === true);
    await write(text);
    finish(read, clean ? EXIT.FINE : EXIT.FINDINGS);
  });

program
  .command('steps')
  .argument('<file>', 'migration stream, libvirt save file, qcow2 image, or -')
  .description('the three columns of the save and load procedure, as they happen')
  .option('--device <name>', 'only sections whose name has this in it')
  .action(async (file: string, options: { readonly device?: string }) => {
    const read = await readInput(file, false);
    const devices = examine(read.stream).filter(({ device }) => matches(device.section, options.device));
    for (const examined of devices) {
      if (examined.error !== undefined) say(examined.error.message);
      else await write(`${stepsText(examined, 'save')}\n${stepsText(examined, 'load')}\n`);
    }
    if (devices.length === 0 && read.error === undefined) say('no such virtio device in the stream');
    const readable = devices.every(({ error }) => error === undefined);
    finish(read, !readable ? EXIT.UNREADABLE : devices.length === 0 ? EXIT.FINDINGS : EXIT.FINE);
  });

program
  .command('diff')
  .argument('<a>', 'the stream to load')
  .argument('<b>', 'a stream that the destination wrote')
  .description('compare two streams by fields, and say which differences matter for a load')
  .option('--json', 'machine-readable')
  .action(async (a: string, b: string, options: { readonly json?: boolean }) => {
    const { diff } = await import('./diff.ts');
    const reads = [await readInput(a, false), await readInput(b, false)] as const;
    const { text, refused } = diff(...reads, options.json === true);
    await write(text);
    for (const read of reads) finish(read, refused ? EXIT.FINDINGS : EXIT.FINE);
    if (reads.some(({ error }) => error !== undefined)) process.exitCode = EXIT.UNREADABLE;
  });

program
  .command('explain')
  .argument(
    '[text...]',
    "a file with a log, or QEMU's messages, as many lines as there are; none or -: standard input",
  )
  .description("say what QEMU's messages about a failed load mean, and what to change")
  .option('--json', 'machine-readable')
  .action(async (words: readonly string[], options: { readonly json?: boolean }) => {
    const [only = '-', ...more] = words;
    // one word is a file, if there is one of that name: no message of a QEMU is a single word
    const isFile = more.length === 0 && (only === '-' || existsSync(only));
    const { text, whole } = isFile ? await readText(only) : { text: words.join('\n'), whole: true };
    const { explainText } = await import('./explain.ts');
    const explained = explainText(text, options.json === true);
    await write(explained.text);
    if (!whole) say('the text is longer than 16 MiB: the rest was not read');
    if (!explained.known) say('no message of a QEMU that virtkit knows');
    process.exitCode = explained.known ? EXIT.FINE : EXIT.FINDINGS;
  });

program
  .command('check')
  .argument(
    '[file]',
    'migration stream, libvirt save file, qcow2 image, or -; with --all a folder; none: a guest that runs',
  )
  .requiredOption(
    '--target <qemu>',
    'qemu-11.1, rhel-9.6, kubevirt-1.8, ubuntu-24.04, proxmox-9, debian-13, … [,machine=pc-q35-7.2][,features=0x10179bfffef][,capabilities=NAME+…][,PROPERTY=VALUE …]',
  )
  .option(
    '--device <device>',
    "a device that is not as at the source, in QEMU's words: virtio-blk-pci,num-queues=1; may be repeated",
    (value: string, before: readonly string[] = []) => [...before, value],
  )
  .option(
    '--args <command line>',
    "the target's whole QEMU command line, or a file with it: a script, a log of libvirt",
  )
  .option('--start <number>', 'which of the starts in that file, the first is 1; default: the last')
  .option('--host-kernel <release>', "the Linux of the target's host, which decides what a tap offers: 6.1")
  .option('--host <file>', "what virtkit host wrote on the target's host; --target host is the QEMU there")
  .option(
    '--domain <file or name>',
    "a libvirt domain's XML, in place of the one in a save file's header; without a stream, the name of a domain that runs",
    (value: string, before: readonly string[] = []) => [...before, value],
  )
  .option('--vmi <file>', "KubeVirt's VirtualMachineInstance, as kubectl get vmi -o yaml prints it")
  .option('--qm <file>', 'what qm showcmd of Proxmox prints, or a configuration')
  .option('--connect <uri>', 'the libvirt that has the domain: qemu:///system, qemu+ssh://…')
  .option('--qmp <socket>', 'without a stream: the QMP socket of a QEMU that runs')
  .option(
    '--qemu <binary>',
    "the target's program: it is started with --args or --domain, stopped and with nothing behind its devices, and asked what it made",
  )
  .option(
    '--all',
    'all machines of a folder (*.xml, *.args), of --connect, --kubevirt or --proxmox, by their descriptions',
  )
  .option(
    '--ask',
    'with --all --connect: ask those that run what their guests use; libvirt marks them as tainted',
  )
  .option('--kubevirt', "with --all: the machines that run in a cluster, by kubectl's context")
  .option('--namespace <name>', 'with --kubevirt: those of one namespace')
  .option(
    '--no-exec',
    'with --kubevirt: no pod is asked; machine types and cards are those of the VirtualMachineInstances',
  )
  .option('--proxmox', 'with --all: the machines of this node, by pvesh and qm')
  .option('--jobs <number>', 'with --all: machines that are read at the same time; default 8')
  .addOption(
    new Option('--format <format>', 'with --all: how it is told; json is a line for each machine').choices([
      'text',
      'json',
      'prometheus',
      'junit',
    ]),
  )
  .description('say whether a QEMU will load the stream, and what speaks against it')
  .option('--json', 'machine-readable')
  .action(async (file: string | undefined, options: FleetWords) => {
    if (options.all === true) {
      const { checkAll } = await import('./fleet/command.ts');
      process.exitCode = exitCodeOf(await checkAll(file, options));
      return;
    }
    const { askedTargetOf, check, checkGuest, demandFiles } = await import('./check.ts');
    if (file === undefined) {
      const { text, answer, note } = await checkGuest(options, options.json === true);
      await write(text);
      say(note);
      process.exitCode = exitCodeOf(answer);
      return;
    }
    demandFiles(options);
    // once: its command line may come out of a pipe
    const target = await askedTargetOf(options);
    const read = await readInput(file, false);
    const { text, answer } = check(read, options, options.json === true, target);
    await write(text);
    finish(read, exitCodeOf(answer));
  });

program
  .command('host')
  .description(
    'print what decides over loads on this host: its kernel, and each QEMU as it answers; for check --host',
  )
  .option(
    '--qemu <binary>',
    'a QEMU to ask; may be repeated; default: those of this architecture where distributions put them',
    (value: string, before: readonly string[] = []) => [...before, value],
  )
  .action(async ({ qemu }: { readonly qemu?: readonly string[] }) => {
    const { hostFacts } = await import('./host.ts');
    await write(await hostFacts(qemu, VERSION));
  });

program
  .command('convert')
  .argument('<in>', 'migration stream (may be gzipped)')
  .argument('<out>', 'file to write; it appears when it is whole')
  .requiredOption('--to <qemu>', 'qemu-11.1[,machine=…][,PROPERTY=VALUE …]')
  .option(
    '--device <device>',
    "a device that is not as at the source, in QEMU's words: virtio-blk-pci,num-queues=1; may be repeated",
    (value: string, before: readonly string[] = []) => [...before, value],
  )
  .option('--args <command line>', "the target's whole QEMU command line, or a file with it")
  .option(
    '--domain <file>',
    "a libvirt domain's XML, in place of the one in a save file's header",
    (value: string, before: readonly string[] = []) => [...before, value],
  )
  .option('--vmi <file>', "KubeVirt's VirtualMachineInstance, as kubectl get vmi -o yaml prints it")
  .option('--qm <file>', 'what qm showcmd of Proxmox prints, or a configuration')
  .description('rewrite a stream so that a QEMU loads it, where that changes nothing that the guest sees')
  .option('--json', 'machine-readable')
  .action(
    async (
      input: string,
      output: string,
      options: Omit<TargetWords, 'target'> & { readonly to: string; readonly json?: boolean },
    ) => {
      const [{ convert }, { verdictText }] = await Promise.all([
        import('./convert.ts'),
        import('./check.ts'),
      ]);
      const { verdicts, written, answer } = await convert(input, output, { ...options, target: options.to });
      if (options.json === true)
        await write(`${JSON.stringify({ format: 1, written, answer, verdicts }, null, 2)}\n`);
      else await write(verdicts.map((verdict) => `${verdictText(verdict)}\n`).join(''));
      const doubt = answer === 'unknown' ? '; virtkit cannot say whether it loads there' : '';
      say(
        written
          ? `${output} written for ${options.to}${doubt}`
          : `${output} not written: ${options.to} cannot load this stream`,
      );
      process.exitCode = exitCodeOf(answer);
    },
  );

program
  .command('visit')
  .argument('<in>', 'migration stream of a stopped guest, with its RAM')
  .argument('<out>', 'file to write; it appears when it is whole')
  .requiredOption('--disk <file...>', 'raw image: FILE, or TITLE=FILE where there are several disks')
  .option(
    '--ram-map <map>',
    'where RAM lies: GPA:BLOCK:OFFSET:LENGTH,…, for machines that virtkit does not know',
  )
  .option(
    '--force',
    "also with an image that another program has open, or that is larger than the guest's disk",
  )
  .description('execute the block requests that a stopped guest has in flight, and hand it back')
  .option('--json', 'machine-readable')
  .action(async (input: string, output: string, options: VisitOptions & { readonly json?: boolean }) => {
    const { visit, visitText } = await import('./visit.ts');
    const visited = await visit(input, output, options);
    const plain = visited.map(({ body: _body, ...rest }) => rest);
    await write(
      options.json === true
        ? `${JSON.stringify({ format: 1, devices: plain }, null, 2)}\n`
        : visitText(visited),
    );
    const failed = visited.reduce((sum, each) => sum + each.failed, 0);
    if (failed > 0)
      say(`${failed} requests failed on their disk, and are left in flight for QEMU to try again`);
    process.exitCode = failed === 0 ? EXIT.FINE : EXIT.FINDINGS;
  });

const terminal: Terminal = {
  write,
  say,
  exit: (code) => {
    process.exitCode = { fine: EXIT.FINE, findings: EXIT.FINDINGS, unreadable: EXIT.UNREADABLE }[code];
  },
};
program
  .command('view')
  .argument('<file>', 'migration stream, libvirt save file or qcow2 image')
  .description(
    'open the stream in a browser of this computer: print the address, until ended by SIGINT or SIGTERM',
  )
  .action(async (file: string) => {
    const { view } = await import('./view/view.ts');
    await view(terminal, file);
  });
addLiveCommands(program, terminal);
addServeCommand(program, terminal);
addHelpCommands(program, { write, version: VERSION });

function finish({ error }: Read, code: number): void {
  if (error !== undefined) say(error.message);
  process.exitCode = error !== undefined ? EXIT.UNREADABLE : code;
}

/** Chooses the exit code of an answer: whoever reads it alone must not take what is not known for a yes. */
function exitCodeOf(answer: Answer): number {
  return { loads: EXIT.FINE, depends: EXIT.UNKNOWN, refused: EXIT.FINDINGS, unknown: EXIT.UNKNOWN }[answer];
}

/** Is this the error of a wrong address, option or target? */
function isUsage(error: unknown): boolean {
  return isUsageError(error) || (isStateError(error) && error.code === 'target');
}

/** A promise that nobody waits for, and not `await`: a program in a single file is CommonJS, which has no such statement. */
program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.FINE : EXIT.USAGE;
  else {
    say(isStateError(error) || error instanceof Error ? error.message : String(error));
    process.exitCode = isUsage(error) ? EXIT.USAGE : EXIT.UNREADABLE;
  }
});
