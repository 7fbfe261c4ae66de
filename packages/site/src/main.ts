// Builds the site into `dist`: `node .ci/pnpm.mjs run site`, with `--base /folder/` for a host on which it does not stand at the top.
import { parseArgs } from 'node:util';
import { finishPages } from './finish.ts';
import { buildInspector, copyInspector } from './inspector.ts';
import { complaints } from './links.ts';
import { makePages, writePages } from './make.ts';
import { made, output, site } from './places.ts';
import { demand } from './program.ts';
import { apiPages } from './reference/api.ts';
import { Shell } from './shell.ts';

const { values } = parseArgs({ options: { base: { type: 'string', default: '/' } } });
if (!/^\/(.*\/)?$/.test(values.base)) throw new Error(`a base begins and ends with a slash: ${values.base}`);

const shell = await Shell.open();
const all = new Map([...(await makePages(shell).finally(() => shell.close())), ...(await apiPages())]);
await writePages(`${made}docs`, all);
await buildInspector();
const env = { ...process.env, SITE_BASE: values.base, ASTRO_TELEMETRY_DISABLED: '1' };
await demand(process.execPath, ['node_modules/astro/astro.js', 'build', '--silent'], { cwd: site, env });
await finishPages(output);
copyInspector();
const wrong = await complaints(output, values.base);
for (const line of wrong) console.error(line);
if (wrong.length > 0) process.exitCode = 1;
else console.log(`${all.size} pages in ${output}`);
