import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describeDomain, describeQm, describeVmi, isShownCommand } from '@virtkit/libvirt';
import { readSmall, refusePipe } from '../files.ts';
import { UsageError } from '../usage.ts';
import { featuresOf } from './features.ts';
import type { DescribedVm, Vm } from './vm.ts';

/** Largest number of files of a folder. */
const FILES_MAX = 2 ** 17;
/** Readers of files, by the end of their names. */
const READERS: Readonly<Record<string, (text: string) => DescribedVm['description']>> = {
  '.xml': describeDomain,
  '.args': (text) => text,
  '.conf': (text) => (isShownCommand(text) ? text : describeQm(text)),
  '.yaml': describeVmi,
  '.yml': describeVmi,
};

/**
 * Finds the machines that a folder describes: a domain's XML in each `*.xml`, a QEMU command line in each `*.args` (of `qm showcmd`, of a log), a
 * configuration of Proxmox in each `*.conf`, a VirtualMachineInstance of KubeVirt in each `*.yaml`.
 * Beside it may be `NAME.features.json`, with what drivers have negotiated: `{"net0": "0x10130afffaf"}`.
 *
 * @throws UsageError for what is no folder, and for one with no such file
 */
export function folderVms(folder: string): Vm[] {
  const names = filesIn(folder).filter((name) => endOf(name) !== undefined);
  if (names.length === 0)
    throw new UsageError(
      `${folder}: no file in it ends with ${new Intl.ListFormat('en', { type: 'disjunction' }).format(Object.keys(READERS))}`,
    );
  const features = new Set(filesIn(folder).filter((name) => name.endsWith('.features.json')));
  return names.sort().map((file) => {
    const end = endOf(file) ?? '';
    const name = basename(file, end);
    const path = join(folder, file);
    return {
      name,
      source: path,
      describe: (): Promise<DescribedVm> =>
        Promise.resolve().then(() => {
          const text = readFile(path);
          const beside = `${name}.features.json`;
          return {
            description: (READERS[end] ?? describeDomain)(text),
            ...(features.has(beside) && {
              features: featuresOf(readFile(join(folder, beside))),
            }),
          };
        }),
    };
  });
}

/** A pipe would wait for who writes it, and all machines behind it with it. */
function readFile(path: string): string {
  refusePipe(path, 'files of a folder are read one after the other');
  return readSmall(path).toString('utf8');
}

function filesIn(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    throw new UsageError(`${folder}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (names.length > FILES_MAX)
    throw new UsageError(`${folder}: ${names.length} files, at most ${FILES_MAX} are read`);
  return names;
}

function endOf(name: string): string | undefined {
  return Object.keys(READERS).find((end) => name.endsWith(end));
}
