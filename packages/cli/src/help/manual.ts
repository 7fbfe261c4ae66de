// Manual pages in roff, for man and mandoc.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError, systemError } from '../system-error.ts';
import { UsageError } from '../usage.ts';
import type { ArgumentRow, CommandRow, CommandTable, OptionRow } from './command-table.ts';
import { exitsOf, NOTES } from './notes.ts';

/**
 * Writes the page of a command, or of the program as a whole.
 *
 * @throws UsageError for a command that there is not
 */
export function manualPage(table: CommandTable, name: string | undefined, version: string): string {
  if (name === undefined) return programPage(table, version);
  const command = table.commands.find((each) => each.name === name);
  if (command === undefined)
    throw new UsageError(`man ${name}: commands are ${table.commands.map((each) => each.name).join(', ')}`);
  return commandPage(table.name, command, version);
}

/**
 * Writes `virtkit.1`, and `virtkit-check.1` and so on for each command.
 *
 * @throws Error with what the system refused
 */
export function writePages(table: CommandTable, folder: string, version: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${table.name}.1`), programPage(table, version));
    for (const command of table.commands) {
      if (NOTES[command.name] === undefined) continue;
      const page = commandPage(table.name, command, version);
      writeFileSync(join(folder, `${table.name}-${command.name}.1`), page);
    }
  } catch (error) {
    throw isSystemError(error) ? systemError(folder, error) : error;
  }
}

function programPage(table: CommandTable, version: string): string {
  return page([
    head(table.name, table.description, version),
    '.SH SYNOPSIS',
    `${bold(table.name)} ${italic('command')} [${italic('argument')} ...\\&]`,
    '.SH DESCRIPTION',
    line('Each command has a page of its own.'),
    ...table.commands.flatMap(({ name, description }) => [
      '.TP',
      bold(`${table.name}-${name}`) + roff('(1)'),
      line(description),
    ]),
    ...optionsOf(table.options),
    '.SH EXIT STATUS',
    line('0: fine. 1: findings, or nothing of that name. 2: usage. 3: unreadable. 4: not known to virtkit.'),
  ]);
}

function commandPage(program: string, command: CommandRow, version: string): string {
  const notes = NOTES[command.name];
  return page([
    head(`${program}-${command.name}`, command.description, version),
    '.SH SYNOPSIS',
    synopsis(program, command),
    ...argumentsOf(command.arguments),
    ...optionsOf(command.options),
    ...(notes === undefined
      ? []
      : [
          '.SH EXIT STATUS',
          ...exitsOf(notes).flatMap(([code, meaning]) => ['.TP', bold(code), line(meaning)]),
          '.SH EXAMPLES',
          ...notes.examples.flatMap(([text, purpose], at) => [
            ...(at === 0 ? [] : ['.PP']),
            line(`${purpose[0]?.toUpperCase() ?? ''}${purpose.slice(1)}:`),
            '.PP',
            '.RS 4',
            '.nf',
            line(text),
            '.fi',
            '.RE',
          ]),
        ]),
    '.SH SEE ALSO',
    `${bold(program)}${roff('(1)')}`,
  ]);
}

const page = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

/** Writes the head of a page, without a date: the same sources make the same page. */
function head(name: string, description: string, version: string): string {
  return [
    `.TH ${roff(name.toUpperCase())} 1 "" "virtkit ${roff(version)}" "virtkit"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(description)}`,
  ].join('\n');
}

function synopsis(program: string, { name, options, arguments: all }: CommandRow): string {
  const words = [
    bold(`${program} ${name}`),
    ...all.map((argument) => bracketed(placeholder(argument), argument.required)),
    ...options.map((option) => bracketed(spellings(option).at(-1) ?? '', option.mandatory)),
  ];
  return words.join('\n');
}

const bracketed = (text: string, required: boolean): string => (required ? text : `[${text}]`);

function argumentsOf(all: readonly ArgumentRow[]): string[] {
  if (all.length === 0) return [];
  return [
    '.SH ARGUMENTS',
    ...all.flatMap((argument) => ['.TP', placeholder(argument), line(argument.description)]),
  ];
}

function optionsOf(all: readonly OptionRow[]): string[] {
  return [
    '.SH OPTIONS',
    ...all.flatMap((option) => ['.TP', spellings(option).join(', '), line(option.description)]),
  ];
}

/** Lists the spellings of an option: `-o file` and `--output file`. */
function spellings({ short, long, value, variadic }: OptionRow): string[] {
  const after = value === undefined ? '' : ` ${placeholder({ name: value.name, variadic })}`;
  return [short, long].flatMap((flag) => (flag === undefined ? [] : [`${bold(flag)}${after}`]));
}

const placeholder = ({ name, variadic }: Pick<ArgumentRow, 'name' | 'variadic'>): string =>
  `${italic(name)}${variadic ? ' ...\\&' : ''}`;

const bold = (text: string): string => `\\fB${roff(text)}\\fR`;
const italic = (text: string): string => `\\fI${roff(text)}\\fR`;

/** Writes text as a line of its own, which must not begin as a request does. */
const line = (text: string): string => roff(text).replace(/^[.']/, '\\&$&');

/** Characters that roff has another meaning or another shape for. */
const SPECIAL: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '"': '\\(dq',
};

function roff(text: string): string {
  return text.replace(
    /[\\\-'`^~"]|[^ -~]/gu,
    (each) =>
      SPECIAL[each] ?? `\\[u${(each.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
  );
}
