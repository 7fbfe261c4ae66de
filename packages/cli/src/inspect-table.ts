// What `inspect` says first: the stream and its devices, on one screen.
import { COMMANDS, titleOf } from '@virtkit/migration';
import { type Examined, outlineOf } from '@virtkit/migration/inspect';
import { findingsOf, findingText } from './device.ts';
import { colors as pc, textOf } from './output.ts';
import type { Read } from './read.ts';

const HEAD = ['device', 'status', 'driver', 'features', 'queues', 'in flight', 'findings'] as const;

/** Writes the devices of a stream in a table, what is wrong with them below it, and how to see more. */
export function tableText(read: Read, devices: readonly Examined[]): string {
  if (devices.length === 0) return textOf([...headLines(read), 'no virtio devices']);
  const rows = [HEAD, ...devices.map(row)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((cells) => (cells[column] ?? '').length)));
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return textOf([
    ...headLines(read),
    '',
    ...lines.map((line, index) => (index === 0 ? pc.bold(line) : line)),
    ...devices.flatMap(problems),
    '',
    pc.dim('all fields: --all, or --device NAME; with their bytes: --hex'),
  ]);
}

function headLines(read: Read): string[] {
  const { stream, bytes } = read;
  const { configuration, ram, libvirt } = stream;
  const blocks = ram?.blocks ?? [];
  const length = blocks.reduce((sum, block) => sum + block.length, 0);
  const pages = blocks.reduce((sum, block) => sum + block.pages + block.zeroPages + block.encodedPages, 0);
  const zero = blocks.reduce((sum, block) => sum + block.zeroPages, 0);
  return [
    ...(libvirt === undefined ? [] : [`libvirt save file, with ${inUnits(libvirt.bytes.length)} in front`]),
    `${pc.bold('migration stream')} of ${inUnits(bytes)}, machine ${configuration?.name ?? '(not told: 2.3 or older)'}`,
    `${stream.sections.length} sections; memory of ${inUnits(length)} in ${blocks.length} ${blocks.length === 1 ? 'block' : 'blocks'}, ${pages} pages sent (${zero} zero)`,
    ...commandLines(read),
    ...findingsOf(stream).map((finding) => pc.red(findingText(finding))),
  ];
}

/** Writes the commands of a stream in a line; none if there are none. */
export function commandLines({ stream: { commands } }: Read): string[] {
  if (commands.length === 0) return [];
  return [`commands ${runs(commands.map(({ command }) => COMMANDS[command] ?? String(command)))}`];
}

/** Says a name that comes many times in a row once. */
function runs(names: readonly string[]): string {
  const found: { readonly name: string; count: number }[] = [];
  for (const name of names) {
    const last = found.at(-1);
    if (last?.name === name) last.count++;
    else found.push({ name, count: 1 });
  }
  return found.map(({ name, count }) => (count === 1 ? name : `${name} (${count} times)`)).join(', ');
}

/** Writes a number of bytes as people say it: `512 bytes`, `1.5 KiB`, `128 MiB`. */
export function inUnits(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  const rounded = Number.isInteger(value) || value >= 100 ? Math.round(value) : Math.round(value * 10) / 10;
  return `${rounded} ${units[unit]}`;
}

function row(examined: Examined): readonly string[] {
  const { title, status, driver = '-', featureCount, telling, queues, inFlight } = outlineOf(examined);
  const { decoded, error, findings } = examined;
  if (decoded === undefined) return [title, status, '', '', '', '', error === undefined ? '' : '1'];
  return [
    title,
    status,
    driver,
    featureCount === undefined ? '-' : [String(featureCount), ...telling].join(' '),
    queues,
    inFlight === 0 ? '-' : String(inFlight),
    findings.length === 0 ? '-' : String(findings.length),
  ];
}

function problems({ device, error, findings }: Examined): string[] {
  const title = titleOf(device);
  return [
    ...(error === undefined ? [] : [pc.red(`${title}: not readable: ${error.message}`)]),
    ...findings.map((finding) =>
      (finding.severity === 'error' ? pc.red : pc.yellow)(`${title}: ${finding.path}: ${finding.reason}`),
    ),
  ];
}
