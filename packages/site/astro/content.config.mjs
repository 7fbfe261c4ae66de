import { defineCollection } from 'astro:content';
import { docsSchema } from '@astrojs/starlight/schema';
import { glob } from 'astro/loaders';

/** What `src/main.ts` has made of the pages, and out of the code. */
export const collections = {
  docs: defineCollection({
    loader: glob({ base: './.made/docs', pattern: '**/*.md' }),
    schema: docsSchema(),
  }),
};
