import { defaultClientConditions, defineConfig } from 'vite';

// The packages' sources, not their `dist`: nothing has to be built before.
const conditions = ['@virtkit/source', ...defaultClientConditions];

export default defineConfig({
  base: './',
  resolve: { conditions },
  worker: { format: 'es' },
  build: { target: 'es2023', chunkSizeWarningLimit: 2000 },
});
