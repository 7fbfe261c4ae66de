import { Argument, type Command } from 'commander';
import { exitsOf, NOTES } from './notes.ts';

/** Output of `completion` and `man`. */
export interface HelpOutput {
  write(text: string): Promise<void>;
  /** Version of the package, for the pages. */
  readonly version: string;
}

/**
 * Adds `completion` and `man`, and examples and exit codes in the help of each command. All of it is made of the
 * program's own table of commands, so that it comes last.
 */
export function addHelpCommands(program: Command, { write, version }: HelpOutput): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'whose completion').choices(['bash', 'zsh', 'fish']))
    .description('print what makes a shell complete commands, options, targets and file names')
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const [{ completion }, { tableOf }] = await Promise.all([
        import('./completion.ts'),
        import('./command-table.ts'),
      ]);
      await write(completion(shell, tableOf(program)));
    });
  program
    .command('man')
    .argument('[command]', 'a command; none: virtkit as a whole')
    .option('-o, --output <folder>', 'write the pages of all commands there')
    .description('print a manual page, for man')
    .action(async (name: string | undefined, { output }: { readonly output?: string }) => {
      const [{ manualPage, writePages }, { tableOf }] = await Promise.all([
        import('./manual.ts'),
        import('./command-table.ts'),
      ]);
      const table = tableOf(program);
      if (output === undefined) await write(manualPage(table, name, version));
      else writePages(table, output, version);
    });
  for (const command of program.commands) {
    const notes = NOTES[command.name()];
    if (notes === undefined) continue;
    const examples = notes.examples.map(([line, purpose]) => `  ${line}\n      ${purpose}\n`);
    const exits = exitsOf(notes).map(([code, meaning]) => `  ${code}  ${meaning}\n`);
    command.addHelpText(
      'after',
      `\nExamples:\n${examples.join('')}\nExit codes:\n${exits.join('')}`.trimEnd(),
    );
  }
}
