// What the fuzzer loads: the target that VIRTKIT_FUZZ_TARGET names.
import { TARGETS } from './targets.ts';

const name = process.env['VIRTKIT_FUZZ_TARGET'];
const target = TARGETS.find((each) => each.name === name);
if (target === undefined) throw new Error(`VIRTKIT_FUZZ_TARGET=${name}: no such target`);

export const fuzz = (input: Buffer): Promise<void> | void =>
  target.run(new Uint8Array(input.buffer, input.byteOffset, input.length));
