import { type Answer, answerOf, convertStream, type Verdict } from '@virtkit/compat';
import { acceptVirtio, StreamParser } from '@virtkit/migration';
import { type Changes, StreamRewriter } from '@virtkit/migration/rewrite';
import { demandFiles, type TargetWords, targetFor, targetOf } from './check.ts';
import { demandClear } from './device.ts';
import { refusePipe, refuseShared, versionOf } from './files.ts';
import { Progress, pathOf, streamOf } from './input.ts';
import { PartFile } from './part-file.ts';
import { readInput } from './read.ts';
import { registry } from './registry.ts';

/** Ending of `virtkit convert`. */
export interface Conversion {
  readonly verdicts: readonly Verdict[];
  /** True if the stream was written: the target loads it, as far as a stream can tell. */
  readonly written: boolean;
  /**
   * Answer for the target. `unknown`: the stream was written, and whether the target loads it cannot be said.
   * `refused`: it was not written.
   */
  readonly answer: Answer;
}

/** Rewrites a stream so that the target loads it, or says what makes that impossible and writes nothing. */
export async function convert(input: string, output: string, words: TargetWords): Promise<Conversion> {
  refusePipe(pathOf(input), 'convert reads its input twice');
  demandFiles(words);
  const args = [
    ...(words.args === undefined ? [] : [{ what: 'the command line', path: words.args }]),
    ...(words.domain ?? []).map((path) => ({ what: 'the domain', path })),
    ...(words.vmi === undefined ? [] : [{ what: 'the VirtualMachineInstance', path: words.vmi }]),
    ...(words.qm === undefined ? [] : [{ what: 'the configuration', path: words.qm }]),
  ];
  refuseShared([{ what: 'the output', path: output }], [{ what: 'the input', path: pathOf(input) }, ...args]);
  const target = targetOf(words);
  const version = versionOf(pathOf(input));
  const read = await readInput(input, false);
  if (read.error !== undefined) throw read.error;
  demandClear(read.stream);
  const { verdicts, changes } = convertStream(
    read.stream,
    targetFor(read.stream, words, target).target,
    registry,
  );
  if (changes === undefined) return { verdicts, written: false, answer: 'refused' };
  await rewrite(input, output, changes, version);
  const answer = answerOf(verdicts.filter(({ convertible }) => convertible !== true));
  return { verdicts, written: true, answer };
}

/** @param version the input's, when its devices were read */
async function rewrite(input: string, output: string, changes: Changes, version: string): Promise<void> {
  const file = new PartFile(output);
  const progress = new Progress(input);
  try {
    const sink = new StreamRewriter((bytes, start, end) => file.write(bytes.subarray(start, end)), changes);
    const parser = new StreamParser(sink, { accepts: acceptVirtio(registry) });
    for await (const chunk of streamOf(input)) {
      parser.push(chunk);
      progress.add(chunk.length);
    }
    parser.end();
    if (versionOf(pathOf(input)) !== version) throw new Error(`${input}: has changed while it was read`);
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  } finally {
    progress.end();
  }
}
