import { RELEASES, VERSIONS } from '@virtkit/compat';
import type { Argument, Command, Option } from 'commander';

/** Value that an option or an argument takes. */
export interface Value {
  /** Name of the value in the help: `file`, `qemu`. */
  readonly name: string;
  /** Words that the value may be; undefined: anything, which may be the name of a file. */
  readonly choices?: readonly string[];
}

export interface OptionRow {
  /** Short spelling: `-o`. */
  readonly short?: string;
  /** Long spelling: `--output`. */
  readonly long: string;
  readonly description: string;
  readonly value?: Value;
  readonly mandatory: boolean;
  /** True if more than one value may follow. */
  readonly variadic: boolean;
}

export interface ArgumentRow extends Value {
  readonly description: string;
  readonly required: boolean;
  readonly variadic: boolean;
}

export interface CommandRow {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionRow[];
  readonly arguments: readonly ArgumentRow[];
}

/** Program, and its commands by name. */
export interface CommandTable extends CommandRow {
  readonly commands: readonly CommandRow[];
}

/** Makes the table of what commander knows of a program, with the words that its values may be. */
export function tableOf(program: Command): CommandTable {
  const help = program.createHelp();
  const commands = help.visibleCommands(program);
  const names = commands.map((command) => command.name());
  const rowOf = (command: Command): CommandRow => ({
    name: command.name(),
    description: command.description(),
    options: help.visibleOptions(command).map((option) => optionRow(option, names)),
    arguments: command.registeredArguments.map((argument) => argumentRow(argument, names)),
  });
  return { ...rowOf(program), commands: commands.map(rowOf) };
}

function optionRow(option: Option, commands: readonly string[]): OptionRow {
  const { short, long, description, mandatory, variadic } = option;
  const [, name] = /[<[]([^>\].]+)/.exec(option.flags) ?? [];
  return {
    ...(short !== undefined && { short }),
    long: long ?? option.name(),
    description,
    ...(name !== undefined && { value: valueNamed(name, option.argChoices, commands) }),
    mandatory,
    variadic,
  };
}

function argumentRow(argument: Argument, commands: readonly string[]): ArgumentRow {
  const { description, required, variadic } = argument;
  return { ...valueNamed(argument.name(), argument.argChoices, commands), description, required, variadic };
}

/**
 * Makes a value by its name: `<qemu>` is a target and `<command>` one of the commands, wherever they stand; others say
 * themselves what they may be.
 */
function valueNamed(name: string, own: readonly string[] | undefined, commands: readonly string[]): Value {
  const choices = name === 'qemu' ? targets() : name === 'command' ? commands : own;
  return { name, ...(choices !== undefined && { choices }) };
}

/** Lists all names that `--target` knows. */
function targets(): readonly string[] {
  return [...VERSIONS.map(({ name }) => `qemu-${name}`), ...RELEASES.map(({ name }) => name)];
}
