import { defineConfig, type Options } from 'tsup';

/** JavaScript only: the types come from tsc. */
const common: Options = { format: 'esm', dts: false, sourcemap: true, clean: true, splitting: false };

/** A library package: one entry, no platform. */
export const library = defineConfig({
  ...common,
  platform: 'neutral',
  target: 'es2023',
  entry: ['src/index.ts'],
});

/** A program for Node. What is imported when it is needed stays in files of its own. */
export const program = (entry: Record<string, string>) =>
  defineConfig({ ...common, splitting: true, platform: 'node', target: 'node20', entry });
