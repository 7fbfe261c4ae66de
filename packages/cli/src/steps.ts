import type { Column, Step } from '@virtkit/core';
import { titleOf } from '@virtkit/migration';
import type { Examined } from '@virtkit/migration/inspect';
import { hex } from '@virtkit/vmstate';
import { textOf } from './output.ts';

const WIDTH = 34;
const COLUMNS: readonly Column[] = ['core', 'transport', 'device'];

/** Writes the three columns of the save and load procedure, for one device. */
export function stepsText({ device, decoded }: Examined, procedure: 'save' | 'load'): string {
  const steps: Step[] = [];
  const onStep = (step: Step): void => void steps.push(step);
  if (procedure === 'load') device.codec.decode(device.section.body, 0, { onStep });
  else if (decoded !== undefined) device.codec.encode(decoded.state, { onStep });
  const head = COLUMNS.map((column) => `virtio ${column}`.padEnd(WIDTH)).join('');
  const rule = COLUMNS.map((column) => '-'.repeat(column.length + 7).padEnd(WIDTH)).join('');
  return textOf([
    `${procedure} ${titleOf(device)}`,
    '',
    `${'bytes'.padEnd(18)}${head}`,
    `${' '.repeat(18)}${rule}`,
    ...steps.map(stepLine),
  ]);
}

function stepLine(step: Step): string {
  const range = step.start === step.end ? '' : `${hex(step.start)}..${hex(step.end)}`;
  const arrow = step.call === undefined ? '' : `> ${step.call}() `;
  const text = `${arrow}${step.queue === undefined ? '' : `[${step.queue}] `}${step.action}`;
  const column = COLUMNS.indexOf(step.column);
  return `${range.padEnd(18)}${' '.repeat(column * WIDTH)}${text}`.trimEnd();
}
