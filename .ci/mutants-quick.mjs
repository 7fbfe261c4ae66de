import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Nothing was written for so long: a loop that does not end. */
const HANGS_MS = 30_000;
const ROUNDS_MAX = 200;

/**
 * The same changes as Stryker's, all in the sources at once with a switch for each, and all of them tried in one process: see
 * `mutants-runner.mjs`. Changes of what is done when a module is loaded are not tried: they count as without a test.
 *
 * @param {string} name of the package
 * @param {string[]} files
 * @param {string} config of vitest
 * @param {string} folder for journals
 * @returns {Promise<any>} as Stryker's JSON report has it
 */
export async function quick(name, files, config, folder) {
  const paths = files.map((file) => `${root}packages/${name}/${file}`);
  const sources = paths.map((path) => readFileSync(path, 'utf8'));
  const journal = journalOf(folder, paths, sources);
  const instrumented = await instrument(paths, sources);
  const putBack = () => {
    paths.forEach((path, i) => {
      writeFileSync(path, sources[i] ?? '');
    });
  };
  process.once('exit', putBack);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  for (const { name: path, content } of instrumented.files) writeFileSync(path, content);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const before = ended(journal);
    await runTests(config, journal);
    if (ended(journal) === before) break;
  }
  putBack();
  return report(paths, sources, instrumented.mutants, linesOf(journal));
}

/** @param {string[]} paths @param {string[]} sources */
async function instrument(paths, sources) {
  const stryker = createRequire(createRequire(import.meta.url).resolve('@stryker-mutator/core/package.json'));
  const { Instrumenter } = await import(pathToFileURL(stryker.resolve('@stryker-mutator/instrumenter')).href);
  const nothing = () => {};
  const logger = {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: nothing,
    isDebugEnabled: () => false,
  };
  const options = { plugins: null, excludedMutations: [], ignorers: [] };
  const given = paths.map((path, i) => ({ name: path, mutate: true, content: sources[i] }));
  return new Instrumenter(logger).instrument(given, options);
}

/**
 * The journal of these sources as they are. What a run before has shown of the same ones stays there with VIRTKIT_MUTANTS_AGAIN=1.
 *
 * @param {string} folder
 * @param {string[]} paths
 * @param {string[]} sources
 */
function journalOf(folder, paths, sources) {
  const hash = createHash('sha256');
  for (const text of [...paths.map((path) => path.slice(root.length)), ...sources])
    hash.update(`${text.length} ${text}`);
  const journal = `${folder}/${hash.digest('hex').slice(0, 16)}.journal`;
  const again = process.env['VIRTKIT_MUTANTS_AGAIN'] === '1' && existsSync(journal);
  const kept = (again ? linesOf(journal) : []).filter(([what]) =>
    ['covered', 'killed', 'timeout'].includes(what),
  );
  writeFileSync(journal, kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return journal;
}

/** @param {string} journal @returns {any[]} whole lines */
function linesOf(journal) {
  const text = readFileSync(journal, 'utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** @param {string} journal */
const ended = (journal) => linesOf(journal).filter(([what]) => what === 'timeout' || what === 'doubt').length;

/** @param {string} config @param {string} journal */
async function runTests(config, journal) {
  const before = ended(journal);
  const child = spawn(
    process.execPath,
    [`${root}node_modules/vitest/vitest.mjs`, 'run', '--config', config],
    {
      cwd: root,
      // a group of its own: its workers end with it
      detached: true,
      env: { ...process.env, VIRTKIT_MUTANTS_JOURNAL: journal },
      stdio: 'ignore',
    },
  );
  const stop = () => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
  };
  const watch = setInterval(() => {
    const last = linesOf(journal).at(-1);
    const isStill = Date.now() - statSync(journal).mtimeMs > HANGS_MS;
    if (last?.[0] === 'start' && isStill)
      appendFileSync(journal, `${JSON.stringify(['timeout', last[1]])}\n`);
    if (ended(journal) > before) stop();
  }, 2000);
  process.once('exit', stop);
  await new Promise((resolve) => child.once('close', resolve));
  process.off('exit', stop);
  clearInterval(watch);
}

/** @param {string[]} paths @param {string[]} sources @param {any[]} mutants @param {any[]} lines */
function report(paths, sources, mutants, lines) {
  const of = (/** @type {string} */ what) =>
    new Set(lines.filter((line) => line[0] === what).map((line) => line[1]));
  const [killed, late] = [of('killed'), of('timeout')];
  const covered = new Set(lines.filter(([what]) => what === 'covered').flatMap(([, ids]) => ids));
  const status = (/** @type {string} */ id) => {
    if (killed.has(id)) return 'Killed';
    if (late.has(id)) return 'Timeout';
    return covered.has(id) ? 'Survived' : 'NoCoverage';
  };
  const from1 = (/** @type {any} */ { line, column }) => ({ line: line + 1, column: column + 1 });
  return {
    files: Object.fromEntries(
      paths.map((path, i) => [
        path.slice(root.length),
        {
          source: sources[i],
          mutants: mutants
            .filter(({ fileName }) => fileName === path)
            .map(({ id, location, replacement, mutatorName }) => ({
              status: status(id),
              replacement,
              mutatorName,
              location: { start: from1(location.start), end: from1(location.end) },
            })),
        },
      ]),
    ),
  };
}
