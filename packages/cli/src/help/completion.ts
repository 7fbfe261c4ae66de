// Scripts for shells. What they complete is in them: no program is started when somebody presses the tabulator.
import type { CommandRow, CommandTable, OptionRow, Value } from './command-table.ts';

/** Writes a script that makes a shell complete the command. */
export function completion(shell: 'bash' | 'zsh' | 'fish', table: CommandTable): string {
  return { bash, zsh, fish }[shell](table);
}

const flagsOf = ({ short, long }: OptionRow): string[] => (short === undefined ? [long] : [short, long]);
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const choicesOf = ({ arguments: all }: CommandRow): readonly string[] =>
  all.flatMap(({ choices = [] }) => choices);

/**
 * Writes the script for bash. Where the function finds no word, `-o default` has the names of files. It is in the words
 * of bash 3.2, which macOS has.
 */
function bash(table: CommandTable): string {
  const names = [...table.commands.map(({ name }) => name), ...table.options.flatMap(flagsOf)];
  return `# bash: source <(virtkit completion bash)
_virtkit() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=
  COMPREPLY=()
  # --option=value comes as three words
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]]; then
    before=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  if ((COMP_CWORD == 1)); then
    words=${quoted(names.join(' '))}
  else
    case "\${COMP_WORDS[1]} $before" in
${table.commands.flatMap(bashValues).join('\n')}
    *)
      case "\${COMP_WORDS[1]} $current" in
${table.commands.map(bashWords).join('\n')}
      esac
      ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current")) || :
}
complete -o default -F _virtkit virtkit
`;
}

/** Writes what may follow the options of a command that take a value: those with the same words share a line. */
function bashValues({ name, options }: CommandRow): string[] {
  const patterns = new Map<string, string[]>();
  for (const option of options) {
    if (option.value === undefined) continue;
    const words = (option.value.choices ?? []).join(' ');
    const before = patterns.get(words) ?? [];
    patterns.set(words, [...before, ...flagsOf(option).map((flag) => quoted(`${name} ${flag}`))]);
  }
  return [...patterns].map(([words, flags]) => `    ${flags.join(' | ')}) words=${quoted(words)} ;;`);
}

function bashWords(command: CommandRow): string {
  const choices = choicesOf(command);
  return [
    `      ${quoted(`${command.name} -`)}*) words=${quoted(command.options.flatMap(flagsOf).join(' '))} ;;`,
    ...(choices.length === 0
      ? []
      : [`      ${quoted(`${command.name} `)}*) words=${quoted(choices.join(' '))} ;;`]),
  ].join('\n');
}

function zsh(table: CommandTable): string {
  const commands = table.commands.map(({ name, description }) => quoted(`${name}:${description}`));
  return `#compdef virtkit
# zsh: source <(virtkit completion zsh), or this text as _virtkit in a directory of $fpath
_virtkit() {
  local context state state_descr line
  local -a commands
  typeset -A opt_args
  commands=(
    ${commands.join('\n    ')}
  )
  _arguments -C ${table.options.flatMap(zshOption).join(' ')} '1:command:->command' '*:::argument:->argument'
  case $state in
  command) _describe command commands ;;
  argument)
    words=($line[1] "\${words[@]}")
    ((CURRENT += 1))
    case $line[1] in
${table.commands.map(zshCommand).join('\n')}
    esac
    ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _virtkit "$@"
else
  compdef _virtkit virtkit
fi
`;
}

function zshCommand({ name, options, arguments: all }: CommandRow): string {
  const specs = [
    ...options.flatMap(zshOption),
    ...all.map((argument, at) =>
      quoted(`${argument.variadic ? '*' : at + 1}:${argument.name}:${zshAction(argument)}`),
    ),
  ];
  return `    ${name})\n      _arguments \\\n        ${specs.join(' \\\n        ')}\n      ;;`;
}

/**
 * Writes one word for each spelling of an option. Those with a value may come again: the table does not say which do.
 */
function zshOption(option: OptionRow): string[] {
  const { value, description } = option;
  const explained = `[${description.replaceAll(/[\\[\]:]/g, '\\$&')}]`;
  return flagsOf(option).map((flag) =>
    value === undefined
      ? quoted(`${flag}${explained}`)
      : quoted(`*${flag}${flag.startsWith('--') ? '=' : '+'}${explained}:${value.name}:${zshAction(value)}`),
  );
}

const zshAction = ({ choices }: Value): string =>
  choices === undefined ? '_files' : `(${choices.join(' ')})`;

function fish(table: CommandTable): string {
  const lines = [
    ...table.options.map((option) => fishOption('__fish_use_subcommand', option)),
    ...table.commands.map(
      ({ name, description }) =>
        `complete -c virtkit -f -n __fish_use_subcommand -a ${name} -d ${fishQuoted(description)}`,
    ),
    ...table.commands.flatMap(fishCommand),
  ];
  return `# fish: virtkit completion fish > ~/.config/fish/completions/virtkit.fish\n${lines.join('\n')}\n`;
}

function fishCommand(command: CommandRow): string[] {
  const condition = fishQuoted(`__fish_seen_subcommand_from ${command.name}`);
  const choices = choicesOf(command);
  return [
    ...command.options.map((option) => fishOption(condition, option)),
    ...(choices.length === 0
      ? []
      : [`complete -c virtkit -f -n ${condition} -a ${fishQuoted(choices.join(' '))}`]),
  ];
}

function fishOption(condition: string, { short, long, description, value }: OptionRow): string {
  const words = [
    `complete -c virtkit -n ${condition}`,
    ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
    `-l ${long.slice(2)}`,
    ...(value === undefined ? [] : ['-r']),
    ...(value?.choices === undefined ? [] : [`-f -a ${fishQuoted(value.choices.join(' '))}`]),
    `-d ${fishQuoted(description)}`,
  ];
  return words.join(' ');
}

const fishQuoted = (text: string): string => `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
