// What `inspect` says first: the stream and its devices, on one screen.
import { FEATURE, hasFeature, nameFeatures, negotiated, STATUS, type VirtioState } from '@virtkit/core';
import { COMMANDS, titleOf } from '@virtkit/migration';
import { type Examined, findingsOf, findingText } from './device.ts';
import { colors as pc, textOf } from './output.ts';
import type { Read } from './read.ts';

const HEAD = ['device', 'status', 'driver', 'features', 'queues', 'in flight', 'findings'] as const;

/** Features that tell how a device is driven: at most so many are named in the table. */
const NAMED = 3;

/** The devices of a stream in a table, what is wrong with them below it, and how to see more. */
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

/** The commands of a stream in a line; none if there are none. */
export function commandLines({ stream: { commands } }: Read): string[] {
  if (commands.length === 0) return [];
  return [`commands ${runs(commands.map(({ command }) => COMMANDS[command] ?? String(command)))}`];
}

/** A name that comes many times in a row is said once. */
function runs(names: readonly string[]): string {
  const found: { readonly name: string; count: number }[] = [];
  for (const name of names) {
    const last = found.at(-1);
    if (last?.name === name) last.count++;
    else found.push({ name, count: 1 });
  }
  return found.map(({ name, count }) => (count === 1 ? name : `${name} (${count} times)`)).join(', ');
}

/** Bytes as people say them: `512 bytes`, `1.5 KiB`, `128 MiB`. */
export function inUnits(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  const rounded = Number.isInteger(value) || value >= 100 ? Math.round(value) : Math.round(value * 10) / 10;
  return `${rounded} ${units[unit]}`;
}

function row({ device, decoded, error, findings }: Examined): readonly string[] {
  const title = titleOf(device);
  if (decoded === undefined) return [title, 'not readable', '', '', '', '', error === undefined ? '' : '1'];
  const { state } = decoded;
  const { requests } = state.device as { readonly requests?: readonly unknown[] };
  return [
    title,
    statusOf(state),
    driverOf(state),
    featuresOf(state, nameFeatures(negotiated(state), device.codec.device.features)),
    queuesOf(state),
    requests === undefined || requests.length === 0 ? '-' : String(requests.length),
    findings.length === 0 ? '-' : String(findings.length),
  ];
}

/** The furthest that the driver has come. */
function statusOf({ status, subsections }: VirtioState): string {
  if (subsections.broken === true || (status & STATUS.NEEDS_RESET) !== 0) return 'broken';
  if ((status & STATUS.FAILED) !== 0) return 'FAILED';
  if ((status & STATUS.DRIVER_OK) !== 0) return 'DRIVER_OK';
  return status === 0 ? 'no driver' : 'starting';
}

function driverOf(state: VirtioState): string {
  const features = negotiated(state);
  const ring = state.subsections.packedVirtqueues === undefined ? 'split' : 'packed';
  if (state.status === 0) return '-';
  return `${hasFeature(features, FEATURE.VERSION_1) ? '1.x' : 'legacy'}, ${ring}`;
}

/** How many were negotiated, and those of the device's own that driver and machine most often differ in. */
function featuresOf(state: VirtioState, features: readonly { readonly name?: string | undefined }[]): string {
  const names = features.flatMap(({ name }) => name ?? []);
  const telling = names
    .filter((name) => TELLING.test(name))
    .map((name) => name.replace(/^VIRTIO_(?:[A-Z0-9]+_)?F_/, ''))
    .slice(-NAMED);
  return state.status === 0 ? '-' : [String(names.length), ...telling].join(' ');
}

/** Features in which drivers, machine versions and command lines differ most often. */
const TELLING =
  /_F_(?:MQ|RSS|HOST_USO|ACCESS_PLATFORM|RING_RESET|IN_ORDER|NOTIFICATION_DATA|DISCARD|MULTIPORT|CONFIG_WCE|CTRL_VQ)$/;

/** How many there are that the driver has set up, and their sizes. */
function queuesOf({ queues }: VirtioState): string {
  const ready = queues.filter(({ desc }) => desc !== 0n);
  const sizes = [...new Set((ready.length === 0 ? queues : ready).map(({ num }) => num))];
  const count = ready.length === queues.length ? `${queues.length}` : `${ready.length} of ${queues.length}`;
  return `${count} × ${sizes.slice(0, 3).join('/')}${sizes.length > 3 ? '/…' : ''}`;
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
