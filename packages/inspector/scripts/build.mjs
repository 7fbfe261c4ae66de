// Builds `dist`: the page for static hosts and `virtkit view` (`page`), and the part for other pages (`index.js`, its worker, declarations).
// All that they need is in them, so that the package asks for no other.
import { spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'vite';

rmSync('dist', { recursive: true, force: true });
await build({ logLevel: 'error' });
await build({
  logLevel: 'error',
  build: {
    outDir: 'dist',
    emptyOutDir: false,
    assetsDir: '',
    lib: { entry: 'src/index.ts', formats: ['es'], fileName: 'index' },
  },
});
nameWorker();
copyFileSync('src/style.css', 'dist/style.css');
declarations();

/** Has the worker made in the one way that every bundler finds, of a file with a lasting name. */
function nameWorker() {
  const file = readdirSync('dist').find((name) => /^worker-.*\.js$/.test(name));
  const text = readFileSync('dist/index.js', 'utf8');
  const made = /new Worker\(new URL\([^{]*\{ type: "module" \}\)/;
  if (file === undefined || !made.test(text)) throw new Error('the worker is not where Vite put it before');
  renameSync(`dist/${file}`, 'dist/worker.js');
  const plain = "new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })";
  writeFileSync('dist/index.js', text.replace(made, plain));
}

/** Has tsc write the declarations of what is exported to `dist`. */
function declarations() {
  const config = 'node_modules/.declarations.json';
  const compilerOptions = {
    noEmit: false,
    emitDeclarationOnly: true,
    declaration: true,
    rootDir: '../src',
    outDir: '../dist',
  };
  writeFileSync(
    config,
    JSON.stringify({ extends: '../tsconfig.json', compilerOptions, files: ['../src/index.ts'], include: [] }),
  );
  const shell = process.platform === 'win32';
  const { status, error } = spawnSync('tsc', ['-p', config], { stdio: 'inherit', shell });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
  // those of what is behind it: nothing that is exported names them
  for (const folder of ['model', 'view']) rmSync(`dist/${folder}`, { recursive: true });
}
