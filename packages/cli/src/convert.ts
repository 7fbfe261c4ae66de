import { checkStream, convertState, parseTarget, type Target, type Verdict } from '@virtkit/compat';
import {
  acceptVirtio,
  decodeVirtio,
  findVirtio,
  type MigrationStream,
  StreamParser,
  titleOf,
} from '@virtkit/migration';
import { StreamRewriter } from '@virtkit/visit';
import { Progress, streamOf } from './input.ts';
import { PartFile } from './part-file.ts';
import { readInput } from './read.ts';
import { registry } from './registry.ts';

/** How `virtkit convert` ended. */
export interface Conversion {
  readonly verdicts: readonly Verdict[];
  /** The stream was written: the target loads it, as far as a stream can tell. */
  readonly written: boolean;
}

/** Rewrites a stream so that the target loads it, or says what makes that impossible and writes nothing. */
export async function convert(input: string, output: string, to: string): Promise<Conversion> {
  const target = parseTarget(to);
  const read = await readInput(input, false);
  if (read.error !== undefined) throw read.error;
  const verdicts = checkStream(read.stream, target, registry);
  if (verdicts.some(({ severity, convertible }) => severity === 'refused' && convertible !== true))
    return { verdicts, written: false };
  await rewrite(input, output, convertedBodies(read.stream, target), !target.qemu.switchoverStart);
  return { verdicts, written: true };
}

/** New bodies by section name. */
function convertedBodies(stream: MigrationStream, target: Target): Map<string, Uint8Array> {
  const bodies = new Map<string, Uint8Array>();
  for (const section of stream.sections) {
    const device = findVirtio(section, registry);
    if (device === undefined || (device.name !== 'virtio-net' && device.name !== 'virtio-blk')) continue;
    const { state } = decodeVirtio(device);
    const machine = target.machine ?? stream.configuration?.name ?? '';
    const converted = convertState(
      titleOf(device),
      device.name,
      state as Parameters<typeof convertState>[2],
      target,
      machine,
    );
    if (converted.verdicts.some(({ convertible }) => convertible === true))
      bodies.set(
        `${section.header.idstr} ${section.header.instanceId}`,
        device.codec.encode(converted.state),
      );
  }
  return bodies;
}

async function rewrite(
  input: string,
  output: string,
  bodies: ReadonlyMap<string, Uint8Array>,
  dropSwitchover: boolean,
): Promise<void> {
  const file = new PartFile(output);
  const progress = new Progress(input);
  try {
    const sink = new StreamRewriter((bytes, start, end) => file.write(bytes.subarray(start, end)), {
      body: ({ idstr, instanceId }) => bodies.get(`${idstr} ${instanceId}`),
      command: (command) => !(dropSwitchover && command === SWITCHOVER_START),
    });
    const parser = new StreamParser(sink, { accepts: acceptVirtio(registry) });
    for await (const chunk of streamOf(input)) {
      parser.push(chunk);
      progress.add(chunk.length);
    }
    parser.end();
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  } finally {
    progress.end();
  }
}

const SWITCHOVER_START = 11;
