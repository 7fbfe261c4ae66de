// One file with all targets, for a fuzzer that instruments what it loads.
import { defineConfig } from 'tsup';

export default defineConfig({
  entry: { targets: 'src/instrumented.ts' },
  format: 'esm',
  platform: 'node',
  target: 'node20',
  noExternal: [/./],
  dts: false,
  clean: true,
  splitting: false,
  // packages that are CommonJS ask for Node's own modules
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
  esbuildOptions(options) {
    options.conditions = ['@virtkit/source'];
  },
});
