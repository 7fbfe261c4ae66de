// Programs that the rehearsal starts.
import { spawn } from 'node:child_process';

export const npm: string = process.platform === 'win32' ? 'npm.cmd' : 'npm';

/** Standard output of a program that ended with 0; otherwise throws what it printed. */
export function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
    let printed = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      printed += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ${args.join(' ')} in ${cwd} ended with ${code}:\n${printed}`));
    });
  });
}

/** The environment without what an outer npm or pnpm has put there: its settings are not a user's. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm|pnpm)_|^NODE_OPTIONS$/i.test(name)),
  );
}
