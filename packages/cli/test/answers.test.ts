import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { useCommand } from './command.ts';
import { violations } from './schema.ts';

const stream = gunzipSync(
  readFileSync(new URL('../../lab/streams/7.2.22/q72-pc-reset.mig.gz', import.meta.url)),
);

describe('the answer of check and convert, by exit code and JSON', () => {
  const command = useCommand();

  function ask(args: readonly string[], schema: 'check' | 'convert'): Record<string, unknown> {
    const { status, stdout } = command.virtkit([...args, '--json']);
    const json = JSON.parse(stdout) as Record<string, unknown>;
    expect(violations(schema, json)).toEqual([]);
    return { status, loads: json['loads'], written: json['written'], answer: json['answer'] };
  }

  function saved(machine = 'pc-i440fx-7.2'): string {
    const file = join(command.home(), 'guest.mig');
    const copy = Buffer.from(stream);
    // a name of the same length, so that its length need not be changed
    copy.write(machine, copy.indexOf('pc-i440fx-7.2'), 'latin1');
    writeFileSync(file, copy);
    return file;
  }

  test.each([
    ['qemu-7.2,capabilities=x-ignore-shared', 0, true, 'loads'],
    ['qemu-7.2', 4, false, 'depends'],
    ['qemu-7.2,capabilities=', 1, false, 'refused'],
    ['qemu-99.1', 4, false, 'unknown'],
    ['qemu-11.2', 4, false, 'unknown'],
  ])('check --target %s: exit code %i', (target, status, loads, answer) => {
    expect(ask(['check', saved(), '--target', target], 'check')).toMatchObject({ status, loads, answer });
  });

  test("a distribution's machine type is no yes", () => {
    const file = saved('pc-i440fx-xyz');
    const target = 'qemu-7.2,capabilities=x-ignore-shared';
    expect(ask(['check', file, '--target', target], 'check')).toMatchObject({
      status: 4,
      loads: false,
      answer: 'unknown',
    });
    expect(command.virtkit(['check', file, '--target', target]).stdout).toContain(
      'virtkit cannot say whether qemu-7.2',
    );
  });

  test('convert writes for a version that is not known, and says so', () => {
    const out = join(command.home(), 'out.mig');
    const found = ask(['convert', saved(), out, '--to', 'qemu-12.0'], 'convert');
    expect(found).toMatchObject({ status: 4, written: true, answer: 'unknown' });
    expect(readFileSync(out).equals(stream)).toBe(true);
  });

  test('a file that -readconfig names is read if it has at most 1 MiB', () => {
    const config = join(command.home(), 'more.cfg');
    const own: readonly string[] = JSON.parse(
      readFileSync(new URL('../../lab/streams/7.2.22/q72-pc-reset.json', import.meta.url), 'utf8'),
    ).command_line;
    const answerFor = (bytes: number): unknown => {
      // a machine that is another one, and a comment
      writeFileSync(config, '[machine]\n  type = "q35"\n# '.padEnd(bytes, 'x'));
      const words = JSON.stringify([...own, '-readconfig', config]);
      return ask(['check', saved(), '--target', 'qemu-7.2', '--args', words], 'check')['answer'];
    };
    expect(answerFor(1 << 20)).toBe('refused');
    expect(answerFor((1 << 20) + 1)).toBe('unknown');
  });
});
