// Runs packages/*/bench/*.bench.ts one after the other, on the built packages. Arguments pick files by part of their path.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const packages = fileURLToPath(new URL('../packages/', import.meta.url));
const wanted = process.argv.slice(2);
for (const name of readdirSync(packages).sort()) {
  const cwd = `${packages}${name}`;
  const files = existsSync(`${cwd}/bench`) ? readdirSync(`${cwd}/bench`).sort() : [];
  for (const file of files.filter((file) => file.endsWith('.bench.ts'))) {
    const path = `${name}/bench/${file}`;
    if (wanted.length > 0 && !wanted.some((part) => path.includes(part))) continue;
    console.log(`\n# ${path}`);
    const args = ['--expose-gc', '--import', 'tsx', `bench/${file}`];
    if (spawnSync(process.execPath, args, { cwd, stdio: 'inherit' }).status !== 0) process.exitCode = 1;
  }
}
