// A vitest runner that has each test look for changes of the sources by itself: a test runs once as it is, and once more for each change
// that it reaches and that no test before it has noticed. Nothing is imported again in between, which takes most of the time otherwise.
// What was tried, and what came of it, stands in the journal that VIRTKIT_MUTANTS_JOURNAL names, a line of JSON each:
//
//   ["covered", [mutants]]          reached by a test
//   ["start", mutant, test]         is tried with this test
//   ["killed", mutant]              the test failed, and does not without the change
//   ["timeout", mutant]             the test took fifteen times as long, and four seconds. The process ends: who knows what still runs
//   ["doubt", mutant, test]         the test failed, and fails without the change as well since. The process ends, and the next one tries
//                                   it once more: what fails twice, and passed in front of that, has noticed a change that stays behind
import { appendFileSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { TestRunner } from 'vitest';
import { getFn, getHooks } from 'vitest/suite';

const journal = process.env['VIRTKIT_MUTANTS_JOURNAL'] ?? '';
/** Tests that take longer try nothing: milliseconds of processor time, so that the same ones do on a busy machine. */
const longest = Number(process.env['VIRTKIT_MUTANTS_LONGEST'] ?? 1000);
/** @type {any} */
const world = globalThis;
/** What the instrumented sources look at. */
const switches = world.__stryker__ ?? {};
world.__stryker__ = switches;

/** Something was thrown where no test could see it: it fails the test that runs, as vitest has it. */
let unseen = false;
for (const kind of ['unhandledRejection', 'uncaughtException'])
  process.on(kind, () => {
    unseen = true;
  });

/** @param {...unknown} words */
const note = (...words) => appendFileSync(journal, `${JSON.stringify(words)}\n`);

export default class extends TestRunner {
  #killed = new Set();
  #tried = new Set();
  #doubted = new Set();

  /** @param {any} files */
  onBeforeRunFiles(files) {
    // the first case that fails is enough
    fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });
    for (const line of readFileSync(journal, 'utf8').split('\n')) {
      if (line === '') continue;
      const [what, mutant, test] = JSON.parse(line);
      if (what === 'killed' || what === 'timeout') this.#killed.add(mutant);
      if (what === 'start') this.#tried.add(`${mutant} ${test}`);
      if (what === 'doubt' && !this.#doubted.delete(`${mutant} ${test}`))
        this.#doubted.add(`${mutant} ${test}`);
    }
    return super.onBeforeRunFiles?.(files);
  }

  /** @param {any} test */
  async runTask(test) {
    const name = `${test.file.name} ${test.id}`;
    switches.currentTestId = name;
    const before = performance.now();
    const cpuBefore = process.cpuUsage();
    try {
      await getFn(test)();
    } finally {
      switches.currentTestId = undefined;
    }
    const least = performance.now() - before;
    const cpu = process.cpuUsage(cpuBefore);
    /** @type {Record<string, number>} */
    const hits = switches.mutantCoverage?.perTest[name] ?? {};
    if (switches.mutantCoverage !== undefined) switches.mutantCoverage.perTest = {};
    note('covered', Object.keys(hits));
    if ((cpu.user + cpu.system) / 1000 > longest) return;
    for (const [mutant, count] of Object.entries(hits)) {
      const again = this.#doubted.has(`${mutant} ${name}`);
      if (this.#killed.has(mutant) || (!again && this.#tried.has(`${mutant} ${name}`))) continue;
      note('start', mutant, name);
      const result = await attempt(test, mutant, count, 4000 + 15 * least);
      if (result === 'passed') continue;
      if (result === 'timeout') await end('timeout', mutant);
      const stays = (await attempt(test, undefined, 0, 8000 + 30 * least)) !== 'passed';
      if (again || !stays) {
        this.#killed.add(mutant);
        note('killed', mutant);
      }
      if (stays) await end('doubt', mutant, name);
    }
  }
}

/** @param {string} what @param {...string} of */
async function end(what, ...of) {
  note(what, ...of);
  process.kill(process.pid, 'SIGKILL');
  await new Promise(() => {});
}

/**
 * Runs a test once more, between the hooks that it would have.
 *
 * @param {any} test
 * @param {string | undefined} mutant undefined: the sources as they are
 * @param {number} count how often the test reaches the change without it: a loop that does not end reaches it much more often
 * @param {number} ms
 */
async function attempt(test, mutant, count, ms) {
  const suites = [];
  for (let suite = test.suite ?? test.file; suite !== undefined; suite = suite.suite) suites.push(suite);
  if (!suites.includes(test.file)) suites.push(test.file);
  const run = async () => {
    try {
      switches.hitCount = 0;
      switches.hitLimit = 200 * count + 1000;
      for (const suite of suites)
        for (const hook of [...getHooks(suite).afterEach].reverse()) await hook(test.context, suite);
      for (const suite of [...suites].reverse())
        for (const hook of getHooks(suite).beforeEach) await hook(test.context, suite);
      switches.activeMutant = mutant;
      unseen = false;
      await getFn(test)();
      // what was rejected is told behind the microtasks
      await new Promise((resolve) => setImmediate(resolve));
      return unseen ? 'failed' : 'passed';
    } catch {
      return 'failed';
    } finally {
      switches.activeMutant = undefined;
    }
  };
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms, 'timeout');
  });
  const result = await Promise.race([run(), late]);
  clearTimeout(timer);
  return result;
}
