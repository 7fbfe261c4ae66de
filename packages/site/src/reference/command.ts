// What the command says of itself.
import type { CommandLine } from '../page.ts';
import { code, plain, table } from '../table.ts';

/** A command as `virtkit --help` lists it. */
interface Listed {
  readonly name: string;
  readonly purpose: string;
}

/** Commands that are about the others and have no page. */
const WITHOUT_PAGE = new Set(['help']);

/** All commands that have a page. @throws Error if the help is not as it was */
export async function commands(shell: CommandLine): Promise<Listed[]> {
  const { printed } = await shell.run('virtkit --help');
  const [, list = ''] = /\nCommands:\n([\s\S]*?)\n\n/.exec(printed) ?? [];
  const found = [...list.matchAll(/^ {2}([a-z]+)\b.*? {2,}(\S.*)$/gm)].map(([, name = '', purpose = '']) => ({
    name,
    purpose,
  }));
  if (found.length === 0) throw new Error(`no commands in:\n${printed}`);
  return found.filter(({ name }) => !WITHOUT_PAGE.has(name));
}

/** A table of the commands. */
export async function commandList(shell: CommandLine): Promise<string> {
  const rows = (await commands(shell)).map(({ name, purpose }) => [
    `[${code(`virtkit ${name}`)}](cli/${name}.md)`,
    plain(purpose),
  ]);
  return table(['command', 'what it does'], rows);
}

/** The help of a command, as it prints it. */
export async function help(name: string, shell: CommandLine): Promise<string> {
  const { printed, code: exit } = await shell.run(`virtkit ${name} --help`);
  if (exit !== 0) throw new Error(`virtkit ${name} --help ended with ${exit}`);
  return ['```text', printed.trimEnd(), '```'].join('\n');
}
