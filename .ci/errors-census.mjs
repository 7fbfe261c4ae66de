// The census of the error texts that a load or a save of a machine can print: errors.txt. This program makes it anew from source
// trees and, for a version without one, from the strings of a program:
//
//   node .ci/errors-census.mjs --qemu 7.2=DIR … --program 11.1=FILE… --libvirt 9.0=DIR … --kubevirt main=DIR
//
// A row is `versions TAB file TAB text`, with the text as the C or Go format string has it. Texts are facts about other
// programs, quoted so that they can be recognised; nothing else of their sources is kept.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './package-files.mjs';

/** Where QEMU's load and save path is: folders, and single files of others. */
const QEMU = [
  'migration',
  'hw/virtio',
  'hw/net',
  'hw/block',
  'hw/scsi',
  'hw/pci',
  'hw/s390x',
  'hw/core',
  'hw/vfio/migration.c',
  'hw/vfio/migration-multifd.c',
  'hw/vfio/common.c',
  'hw/char/virtio-console.c',
  'hw/char/virtio-serial-bus.c',
  'hw/display/virtio-gpu.c',
  'hw/display/virtio-gpu-base.c',
  'hw/display/virtio-vga.c',
  'hw/input/virtio-input.c',
  'hw/9pfs/virtio-9p-device.c',
  'net',
  'io',
  'util/qemu-sockets.c',
  'backends/dbus-vmstate.c',
  'backends/hostmem.c',
  'backends/vhost-user.c',
  'target/i386/machine.c',
  'target/i386/kvm/kvm.c',
  'target/i386/kvm.c',
  'target/s390x/machine.c',
  'system/physmem.c',
  'system/runstate.c',
  'system/vl.c',
  'system/qdev-monitor.c',
  'softmmu/physmem.c',
  'softmmu/runstate.c',
  'softmmu/vl.c',
  'softmmu/qdev-monitor.c',
  'exec.c',
  'accel/kvm/kvm-all.c',
  'block/snapshot.c',
];
const LIBVIRT = [
  'src/qemu/qemu_migration.c',
  'src/qemu/qemu_migration_cookie.c',
  'src/qemu/qemu_migration_params.c',
  'src/qemu/qemu_saveimage.c',
  'src/qemu/qemu_snapshot.c',
  'src/qemu/qemu_monitor.c',
  'src/qemu/qemu_monitor_json.c',
  'src/qemu/qemu_process.c',
  'src/qemu/qemu_domainjob.c',
  'src/hypervisor/domain_job.c',
  'src/conf/domain_conf.c',
  'src/cpu/cpu_x86.c',
  'src/conf/cpu_conf.c',
  'src/libvirt-domain.c',
];
const KUBEVIRT = [
  'pkg/virt-controller/watch/migration',
  'pkg/virt-handler/migration',
  'pkg/virt-handler/migration-source.go',
  'pkg/virt-handler/migration-target.go',
  'pkg/virt-handler/vm.go',
  'pkg/virt-handler/controller.go',
  'pkg/virt-handler/migration-proxy',
  'pkg/virt-launcher/virtwrap/live-migration-source.go',
  'pkg/virt-launcher/virtwrap/live-migration-target.go',
  'pkg/virt-launcher/virtwrap/manager.go',
];

/** Functions whose text reaches a log. */
const QEMU_CALL =
  /\b(error_report|error_report_once|error_setg|error_setg_errno|error_setg_file_open|error_prepend|error_reportf_err|warn_reportf_err|warn_report|warn_report_once|warn_report_once_cond|error_report_once_cond|info_report|error_append_hint|virtio_error|vhost_scsi_error|hw_error|error_vprepend|VHOST_OPS_DEBUG|ERROR|migrate_add_blocker)\s*\(/g;
const LIBVIRT_CALL =
  /\b(virReportError|virReportSystemError|virReportSystemErrorFull|VIR_WARN|VIR_ERROR)\s*\(/g;
const GO_CALL = /\b(Errorf|Error|Errorln|Eventf|Event|New|Warningf|Warning)\s*\(/g;

/** Files whose strings are help texts for the most part. */
const HELP = new Set([
  'system/vl.c',
  'system/qdev-monitor.c',
  'net/slirp.c',
  'net/net.c',
  'hw/core/machine.c',
  'accel/kvm/kvm-all.c',
]);

/** @typedef {{ versions: Set<string>, file: string }} Found */
/** @type {Map<string, Found>} */
const census = new Map();
const { values } = parseArgs({
  options: {
    qemu: { type: 'string', multiple: true, default: [] },
    program: { type: 'string', multiple: true, default: [] },
    libvirt: { type: 'string', multiple: true, default: [] },
    kubevirt: { type: 'string', multiple: true, default: [] },
    output: { type: 'string', default: `${root}/.ci/errors.txt` },
  },
});
for (const [version, folder] of named(values.qemu)) scan(`qemu-${version}`, folder, QEMU, '.c', QEMU_CALL);
for (const [version, folder] of named(values.libvirt))
  scan(`libvirt-${version}`, folder, LIBVIRT, '.c', LIBVIRT_CALL);
for (const [version, folder] of named(values.kubevirt))
  scan(`kubevirt-${version}`, folder, KUBEVIRT, '.go', GO_CALL);
for (const [version, file] of named(values.program)) scanProgram(`qemu-${version}`, file);
write();

/** `NAME=PATH` of a list. @param {readonly string[]} list @returns {[string, string][]} */
function named(list) {
  return list.map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw new Error(`${word}: wanted VERSION=PATH`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

/**
 * @param {string} version
 * @param {string} tree
 * @param {readonly string[]} places
 * @param {string} ending
 * @param {RegExp} call
 */
function scan(version, tree, places, ending, call) {
  const files = places.flatMap((place) => filesBelow(join(tree, place), ending));
  const texts = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));
  const macros = stringMacros([...texts.values(), ...headers(tree)]);
  for (const [file, text] of texts)
    for (const message of messagesOf(text, call, macros, ending === '.go'))
      add(message, version, relative(tree, file));
}

/** @param {string} path @param {string} ending @returns {string[]} */
function filesBelow(path, ending) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending) && !name.endsWith('_test.go'))
    .sort()
    .map((name) => join(path, name));
}

/** Headers that name texts by macros. @param {string} tree */
function headers(tree) {
  return ['include/qapi/qmp/qerror.h', 'hw/vfio/vfio-migration-internal.h', 'net/vhost-vdpa.h']
    .map((name) => join(tree, name))
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, 'utf8'));
}

/** `#define NAME "text"`. @param {readonly string[]} texts */
function stringMacros(texts) {
  /** @type {Map<string, string>} */
  const macros = new Map();
  for (const text of texts)
    for (const [, name = '', value = ''] of text.matchAll(
      /#define\s+(\w+)\s+(?:\\\n)?\s*((?:"(?:[^"\\\n]|\\.)*"\s*(?:\\\n\s*)?)+)/g,
    ))
      macros.set(name, value);
  return macros;
}

/**
 * The format strings of the calls in a source.
 * @param {string} source
 * @param {RegExp} call
 * @param {ReadonlyMap<string, string>} macros
 * @param {boolean} go
 */
function* messagesOf(source, call, macros, go) {
  const text = source.replace(/\/\*[\s\S]*?\*\//g, ' ').replace(/(^|[^:"'])\/\/[^\n]*/g, '$1');
  for (const match of text.matchAll(call)) {
    const args = argumentsFrom(text, match.index + match[0].length);
    for (const arg of args) {
      const message = joined(arg, macros, go);
      if (message === undefined) continue;
      if (isMessage(message)) yield message;
      break;
    }
  }
}

/** The arguments of a call, split at its commas. @param {string} text @param {number} from @returns {string[]} */
function argumentsFrom(text, from) {
  const args = [];
  let depth = 0;
  let start = from;
  for (let at = from; at < text.length && at < from + 4000; at++) {
    const char = text[at];
    if (char === '"' || char === '`' || char === "'") at = closing(text, at);
    else if (char === '(' || char === '{' || char === '[') depth++;
    else if ((char === ')' || char === '}' || char === ']') && depth-- === 0) {
      args.push(text.slice(start, at));
      return args;
    } else if (char === ',' && depth === 0) {
      args.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [];
}

/** Where the literal that begins here ends. @param {string} text @param {number} from */
function closing(text, from) {
  const quote = text[from];
  let at = from + 1;
  while (at < text.length && text[at] !== quote) at += text[at] === '\\' && quote !== '`' ? 2 : 1;
  return at;
}

/**
 * A format string out of its pieces: literals, macros of number formats, names of other macros.
 * @param {string} arg
 * @param {ReadonlyMap<string, string>} macros
 * @param {boolean} go
 * @returns {string | undefined}
 */
function joined(arg, macros, go) {
  const inner = arg
    .trim()
    .replace(/^(?:_|N_|gettext)\(([\s\S]*)\)$/, '$1')
    .trim();
  if (go) {
    const literal = /^(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`)$/.exec(inner.replace(/"\s*\+\s*"/g, ''));
    return literal === null ? undefined : unescaped(literal[1] ?? literal[2] ?? '');
  }
  const pieces = inner.match(/"(?:[^"\\]|\\.)*"|\w+|\S/g) ?? [];
  if (!pieces.some((piece) => piece.startsWith('"')) && !(pieces.length === 1 && macros.has(pieces[0] ?? '')))
    return undefined;
  let text = '';
  for (const piece of pieces) {
    if (piece.startsWith('"')) text += unescaped(piece.slice(1, -1));
    else if (/^PRI[a-zA-Z0-9]+$/.test(piece)) text += piece.charAt(3).toLowerCase();
    else if (/FMT|_lx|HWADDR|RAM_ADDR/.test(piece))
      text += /^[A-Z_]*FMT/.test(piece) && !/PRI/.test(piece) ? '%x' : 'x';
    else if (macros.has(piece)) text += joined(macros.get(piece) ?? '', macros, go) ?? '';
    else if (/^[A-Z][A-Z0-9_]+$/.test(piece)) text += '%s';
    else return undefined;
  }
  return text;
}

/** @param {string} text */
function unescaped(text) {
  return text
    .replace(/\\n/g, '\n')
    .replace(/\\t/g, ' ')
    .replace(/\\(["'\\?])/g, '$1');
}

/** Whether a text says something: a word at least, besides the numbers. @param {string} text */
function isMessage(text) {
  return (
    /[A-Za-z]{3}/.test(text.replace(/%[-+ #0-9.*]*(?:hh|h|ll|l|z|j)?[a-zA-Z]/g, '')) && text.trim().length > 4
  );
}

/** One spelling of a format for all versions: `%1$s` is `%s`. @param {string} text */
function spelled(text) {
  return text
    .replace(/%\d+\$/g, '%')
    .replace(/%(#?0?[0-9]*)(?:hh|h|ll|l|z|j)+([diuxX])/g, '%$1$2')
    .replace(/\s+/g, ' ')
    .trim();
}

/** @param {string} message @param {string} version @param {string} file */
function add(message, version, file) {
  const text = spelled(message);
  const program = version.slice(0, version.indexOf('-'));
  const key = `${program}\t${text}`;
  const known = census.get(key);
  if (known === undefined) census.set(key, { versions: new Set([version]), file });
  else {
    known.versions.add(version);
    known.file = file;
  }
}

/**
 * A program without its sources: which of the texts that are known it has, and the new ones, whose file is told by their
 * neighbours: a compiler leaves the strings of a file together.
 * @param {string} version
 * @param {string} path
 */
function scanProgram(version, path) {
  const strings = readFileSync(path, 'latin1').match(/[\t\n\x20-\x7e]{5,}(?=\0)/g) ?? [];
  const known = new Map(
    [...census].filter(([key]) => key.startsWith('qemu\t')).map(([key, found]) => [key.slice(5), found]),
  );
  const files = strings.map((string) => known.get(spelled(string))?.file);
  for (const [index, string] of strings.entries()) {
    const text = spelled(string);
    const found = known.get(text);
    if (found !== undefined) found.versions.add(version);
    else if (isErrorText(text)) {
      const file = neighbour(files, index);
      if (file !== undefined && !HELP.has(file)) add(text, version, file);
    }
  }
}

/** Whether a string of a program may be an error's, and not a trace event's, an assertion's or a help text's. @param {string} text */
function isErrorText(text) {
  return (
    isMessage(text) &&
    /^[\w%"'(].* .* /.test(text) &&
    !/^\w+_\w+ |^[-\w]*=|[!=<>]=|->|&&|\|\||;|[{}]|^[\w-]+ is |%\*s/.test(text)
  );
}

/** The file that the nearest known strings on both sides are of. @param {readonly (string | undefined)[]} files @param {number} index */
function neighbour(files, index) {
  const before = files.slice(Math.max(0, index - 12), index).findLast((file) => file !== undefined);
  const behind = files.slice(index + 1, index + 13).find((file) => file !== undefined);
  return before === behind ? before : undefined;
}

function write() {
  const rows = [...census].map(([key, { versions, file }]) => {
    const text = key.slice(key.indexOf('\t') + 1);
    return `${[...versions].sort(byVersion).join(' ').replaceAll(/ \w+-/g, ' ')}\t${file}\t${text}`;
  });
  writeFileSync(values.output, `${rows.sort((a, b) => (order(a) < order(b) ? -1 : 1)).join('\n')}\n`);
  console.log(`${rows.length} texts`);
}

/** @param {string} a @param {string} b */
function byVersion(a, b) {
  return Number(a.replace(/^\w+-/, '')) - Number(b.replace(/^\w+-/, '')) || (a < b ? -1 : 1);
}

/** Rows in the order of programs, files, texts. @param {string} row */
function order(row) {
  const [versions = '', file = '', text = ''] = row.split('\t');
  return `${versions.startsWith('qemu') ? 0 : versions.startsWith('libvirt') ? 1 : 2}\t${file}\t${text}`;
}
