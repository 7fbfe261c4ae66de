/**
 * node --import tsx --conditions=@virtkit/source test/whole-suite.ts [part of a name]... [--steps 200]
 *
 * The whole product of transports, ring modes and devices, without a test runner. Takes a while; words pick what has all
 * of them in its name.
 */
import { parseArgs } from 'node:util';
import type { TransportParts } from '@virtkit/core';
import { allCases } from '../src/suite/all.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { RING_MODES } from '../src/suite/rings.ts';
import { DEVICES, map, TRANSPORTS } from './benches.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '24' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
});

let [passed, failed] = [0, 0];
for (const bench of Object.values(TRANSPORTS) as TransportBench<unknown, TransportParts>[]) {
  for (const rings of RING_MODES) {
    if (rings.modern && !bench.modern) continue;
    for (const device of Object.values(DEVICES) as DeviceBench<unknown>[]) {
      const context = { bench, device, rings, map, steps: Number(values.steps), seed: Number(values.seed) };
      for (const { name, run } of allCases(context)) {
        const title = `${bench.name} / ${rings.name} / ${device.name}: ${name}`;
        if (!positionals.every((word) => title.includes(word))) continue;
        const began = performance.now();
        if (values.verbose) process.stdout.write(`${title} `);
        try {
          await run();
          passed++;
          if (values.verbose) console.log(`${Math.round(performance.now() - began)} ms`);
        } catch (error) {
          failed++;
          console.log(`FAILED ${title}\n  ${error instanceof Error ? error.stack : String(error)}`);
        }
      }
    }
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
