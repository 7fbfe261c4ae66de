// Programs that making the site starts.
import { spawn } from 'node:child_process';

/** Output of a program, on both outputs as a terminal shows them, and how it ended. */
export interface Ended {
  readonly printed: string;
  /** Exit code of the program; null if a signal ended it. */
  readonly code: number | null;
}

/** Runs a program to its end. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const from of [child.stdout, child.stderr])
      from.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
      });
    child.on('error', reject);
    child.on('close', (code) => resolve({ printed, code }));
  });
}

/** Demands that a program ends with 0. @throws Error with what it printed if it did not */
export async function demand(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<void> {
  const { printed, code } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${printed}`);
}
