// Which questions are put to a running QEMU. One that hurts it takes the guest with it: nothing is asked that was not tried.
import { compareVersion } from '@virtkit/core/qemu';

/** Question, and the versions of QEMU that were seen to answer it. */
interface Question {
  /** Command of QMP, or `info …` of the human monitor. */
  readonly command: string;
  /** Ranges of versions, each tried at both ends; a single one: it alone. */
  readonly tried: readonly (readonly [first: string, last: string])[];
  /** Versions of QEMU that the question was seen to end, and how. */
  readonly ends: readonly (readonly [version: string, how: string])[];
}

/**
 * Questions to a running QEMU. Old commands are the same from 5.2 to 11.1; those with `x-` are asked where they
 * themselves were tried.
 */
const QUESTIONS: readonly Question[] = [
  { command: 'qom-get', tried: [['5.2', '11.1']], ends: [] },
  { command: 'query-cpus-fast', tried: [['5.2', '11.1']], ends: [] },
  { command: 'info qtree', tried: [['5.2', '11.1']], ends: [] },
  { command: 'info ramblock', tried: [['5.2', '11.1']], ends: [] },
  {
    command: 'x-query-virtio',
    tried: [
      ['7.2', '7.2'],
      ['10.0', '10.0'],
    ],
    ends: [],
  },
  {
    command: 'x-query-virtio-status',
    tried: [
      ['7.2', '7.2'],
      ['10.0', '10.0'],
    ],
    ends: [['11.1.2', 'aborts in visit_start_struct, and the guest is lost']],
  },
  {
    command: 'x-query-virtio-queue-status',
    tried: [
      ['7.2', '7.2'],
      ['10.0', '10.0'],
    ],
    ends: [],
  },
  {
    command: 'info virtio-status',
    tried: [],
    ends: [['11.1.2', 'has a segmentation fault, and the guest is lost']],
  },
];

/** Says why a question is not put to this version of QEMU (`11.1.2`); undefined: it was tried with it. */
export function whyNotAsked(command: string, version: string): string | undefined {
  const question = QUESTIONS.find((each) => each.command === command);
  const end = question?.ends.find(([ended]) => ended === version);
  if (end !== undefined) return `QEMU ${version} does not survive ${command}: it ${end[1]}`;
  const minor = version.split('.').slice(0, 2).join('.');
  const tried = question?.tried.some(
    ([first, last]) => compareVersion(minor, first) >= 0 && compareVersion(minor, last) <= 0,
  );
  return tried === true ? undefined : `${command} was not tried with QEMU ${version}`;
}
