// Names in a stream and words in a log are whatever somebody put there: they drive no terminal, and make no lines.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { useCommand } from './command.ts';

const { virtkit } = useCommand();

const EVIL = '\x1b[2JEVIL\u202e\x9b';

test('a section of an evil name', () => {
  const corpus = fileURLToPath(new URL('../../lab/streams/7.2.22/', import.meta.url));
  const name = readdirSync(corpus).find((file) => /^q72.*pci.*\.mig\.gz$/.test(file));
  const bytes = Buffer.from(gunzipSync(readFileSync(`${corpus}${name}`)));
  // Both are in each stream of a PC, and their places are taken byte for byte. The first device comes behind RAM,
  // whose end its own bytes say; where the one in front of `fw_cfg` ends, only a name behind it could say, and this is none.
  for (const [name, evil, shown] of [
    ['0000:00:01.0/pcie-root-port', '\x1b[2J\nE', /\\u001b\[2J\\u000aE/],
    ['fw_cfg', '\x1b[2J\nE', /the end of the section is missing/],
  ] as const) {
    const evilBytes = Buffer.from(bytes);
    const at = bytes.indexOf(`${String.fromCharCode(name.length)}${name}`);
    expect(at).toBeGreaterThan(0);
    evilBytes.write(evil, at + 1, 'latin1');
    for (const [command, ...options] of [['inspect', '--all'], ['inspect'], ['steps'], ['verify']] as const) {
      const { stdout, stderr } = virtkit([command, '-', ...options], { input: evilBytes });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
      expect(stdout + stderr).not.toMatch(/\x1b/);
      expect(stdout + stderr).not.toMatch(/^E(\b|:|,)/m);
      if (options.length > 0) expect(stdout + stderr).toMatch(shown);
    }
  }
});

test('a log with evil words', () => {
  const { stdout, stderr } = virtkit(['explain', `Unknown ramblock "${EVIL}", cannot accept migration`]);
  expect(stdout + stderr).toContain('amblock');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
  expect(stdout + stderr).not.toMatch(/[\x1b\x9b\u202e]/);
});

test('explain reads the file that its one word names, packed or not; another word is a message', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtkit-log-'));
  try {
    const log = join(folder, 'vm1.log');
    const said = 'qemu-system-x86_64: VQ 0 size 0x100 < last_avail_idx 0x5 - used_idx 0x400\n';
    writeFileSync(log, said);
    writeFileSync(`${log}.gz`, gzipSync(said));
    const answers = [
      virtkit(['explain', log]),
      virtkit(['explain', `${log}.gz`]),
      virtkit(['explain', said]),
    ];
    for (const { status, stdout } of answers) expect([status, stdout]).toEqual([0, answers[0]?.stdout]);
    expect(answers[0]?.stdout).toMatch(/^Cause: /);
    expect(virtkit(['explain', join(folder, 'none.log')])).toMatchObject({ status: 1, stdout: '' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
