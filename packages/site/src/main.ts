// Builds the site into `dist`: `node .ci/pnpm.mjs run site`, with `--base /folder/` for a host on which it does not stand at the top.
import { parseArgs } from 'node:util';
import { copyInspector } from './inspector.ts';
import { complaints } from './links.ts';
import { makePages, writePages } from './make.ts';
import { made, output, site } from './places.ts';
import { demand } from './program.ts';

const { values } = parseArgs({ options: { base: { type: 'string', default: '/' } } });
if (!/^\/(.*\/)?$/.test(values.base)) throw new Error(`a base begins and ends with a slash: ${values.base}`);

const all = await makePages();
await writePages(`${made}docs`, all);
const env = { ...process.env, SITE_BASE: values.base, ASTRO_TELEMETRY_DISABLED: '1' };
await demand(process.execPath, ['node_modules/astro/astro.js', 'build', '--silent'], { cwd: site, env });
copyInspector();
const wrong = await complaints(output, values.base);
for (const line of wrong) console.error(line);
if (wrong.length > 0) process.exitCode = 1;
else console.log(`${all.size} pages in ${output}`);
