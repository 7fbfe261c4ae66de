import { serveFaulty, wordsFor } from './disks.ts';
import type { DriverTest } from './faults.ts';
import { outcomeOf, outcomes } from './guest.ts';

/** A machine whose guest runs the script, as a test or a program starts it. */
export interface GuestMachine {
  /** All that it has written to its console. */
  readonly console: string;
  writeConsole(text: string): void;
  waitForConsole(pattern: RegExp, timeoutMs: number): Promise<unknown>;
  close(): Promise<void>;
}

/** What became of one disk. */
export interface Result {
  readonly test: DriverTest;
  readonly outcome: string;
  /** Kinds of faults that the disk had. */
  readonly faults: ReadonlySet<string>;
}

const WAIT_MS = 300_000;

/** The whole line that the guest writes when a disk's test has ended. */
const saidOf = (name: string): RegExp => new RegExp(`TEST ${name} [A-Z-]+\\r?\\n`);

/**
 * Runs all tests in one machine.
 *
 * @param folder where sockets may be made
 * @param start starts the machine with these words for its disks
 */
export async function runTests(
  tests: readonly DriverTest[],
  folder: string,
  start: (words: readonly string[]) => Promise<GuestMachine>,
): Promise<{ readonly results: readonly Result[]; readonly log: string }> {
  const pathOf = (name: string): string => `${folder}/${name}`;
  const had = new Map(tests.map(({ name }) => [name, new Set<string>()]));
  const servers = tests.map((test) =>
    serveFaulty(test, pathOf(test.name), (kind) => had.get(test.name)?.add(kind)),
  );
  let machine: GuestMachine | undefined;
  try {
    machine = await start(wordsFor(tests, pathOf));
    // whatever is expected to end has ended then, and whatever is expected to fail has had its fault
    for (const { name, expected } of tests)
      if (expected !== 'HANGS' && expected !== 'WOKEN') await machine.waitForConsole(saidOf(name), WAIT_MS);
    while ([...had.values()].some((kinds) => kinds.size === 0))
      await new Promise((resolve) => setTimeout(resolve, 50));
    const before = outcomes(machine.console);
    machine.writeConsole('touch\n');
    for (const { name, expected } of tests)
      if (expected === 'WOKEN') await machine.waitForConsole(saidOf(name), WAIT_MS);
    machine.writeConsole('end\n');
    await machine.waitForConsole(/TESTS OVER/, WAIT_MS);
    const after = outcomes(machine.console);
    const results = tests.map((test) => ({
      test,
      outcome: outcomeOf(test.name, before, after),
      faults: had.get(test.name) ?? new Set<string>(),
    }));
    return { results, log: machine.console };
  } finally {
    await machine?.close();
    for (const server of servers) server.close();
  }
}
