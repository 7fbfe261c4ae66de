// What the fuzzer loads: the target that VIRTKIT_FUZZ_TARGET names.
import { OracleError } from './target.ts';
import { TARGETS } from './targets.ts';

const name = process.env['VIRTKIT_FUZZ_TARGET'];
const target = TARGETS.find((each) => each.name === name);
if (target === undefined) throw new Error(`VIRTKIT_FUZZ_TARGET=${name}: no such target`);

/** Processor time that an input may take, microseconds. A busy machine does not make it longer. */
const INPUT_MAX = 10_000_000;

function judge(before: NodeJS.CpuUsage): void {
  const { user, system } = process.cpuUsage(before);
  if (user + system > INPUT_MAX) throw new OracleError(`${(user + system) / 1e6} s of processor time`);
}

export const fuzz = (input: Buffer): Promise<void> | void => {
  const before = process.cpuUsage();
  const done = target.run(new Uint8Array(input.buffer, input.byteOffset, input.length));
  if (done !== undefined) return done.then(() => judge(before));
  judge(before);
};
