import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// Tests run on the sources of all packages: nothing has to be built.
const conditions = ['@virtkit/source'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions: [...conditions, 'node', 'import', 'module', 'default'] } },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts'],
    setupFiles: ['./.ci/seed.ts'],
    passWithNoTests: true,
    // Half of the long tests wait for a real QEMU: two files at once take two thirds of the time on two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // two cores may be busy with a real QEMU beside
    testTimeout: 120_000,
    hookTimeout: 120_000,
    coverage: { provider: 'v8', include: ['packages/*/src/**'], exclude: ['packages/lab/**'] },
  },
});
