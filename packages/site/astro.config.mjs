import starlight from '@astrojs/starlight';
import { defineConfig, passthroughImageService } from 'astro/config';
import { sidebar } from './src/sidebar.ts';

/** Where the site stands on its host: `/` or a folder such as `/virtkit/`. */
const base = process.env['SITE_BASE'] ?? '/';

export default defineConfig({
  base,
  srcDir: './astro',
  outDir: './dist',
  cacheDir: './.made/cache',
  trailingSlash: 'always',
  build: { format: 'directory' },
  image: { service: passthroughImageService() },
  devToolbar: { enabled: false },
  integrations: [
    starlight({
      title: 'virtkit',
      description: 'Virtio devices in TypeScript, and their saved state as QEMU writes it.',
      social: [{ icon: 'github', label: 'Sources', href: 'https://github.com/virtkit/virtkit' }],
      // output of commands needs no window around it
      expressiveCode: { defaultProps: { frame: 'none' } },
      customCss: ['./astro/site.css'],
      sidebar: sidebar(),
      disable404Route: false,
      credits: false,
      lastUpdated: false,
      pagination: true,
      tableOfContents: { minHeadingLevel: 2, maxHeadingLevel: 3 },
    }),
  ],
});
