import { defaultClientConditions, defineConfig } from 'vite';

// The packages' sources, not their `dist`: nothing has to be built before.
const conditions = ['@virtkit/source', ...defaultClientConditions];

export default defineConfig({
  // under any path of any host
  base: './',
  resolve: { conditions },
  worker: { format: 'es' },
  build: { target: 'es2023', outDir: 'dist/page', modulePreload: false },
});
