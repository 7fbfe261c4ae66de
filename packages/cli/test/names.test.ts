// Names in a stream and words in a log are whatever somebody put there: they drive no terminal, and make no lines.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { useCommand } from './command.ts';

const { virtkit } = useCommand();

const EVIL = '\x1b[2JEVIL\u202e\x9b';

test('a section of an evil name', () => {
  const corpus = fileURLToPath(new URL('../../lab/streams/7.2.22/', import.meta.url));
  const name = readdirSync(corpus).find((file) => /^q72.*pci.*\.mig\.gz$/.test(file));
  const bytes = Buffer.from(gunzipSync(readFileSync(`${corpus}${name}`)));
  // `fw_cfg` is in each stream of a PC; its name's place is taken, byte for byte
  const at = bytes.indexOf('\x06fw_cfg');
  expect(at).toBeGreaterThan(0);
  bytes.write('\x1b[2J\nE', at + 1, 'latin1');
  for (const command of ['inspect', 'steps', 'verify']) {
    const { stdout, stderr } = virtkit([command, '-'], { input: bytes });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
    expect(stdout + stderr).not.toMatch(/\x1b/);
    expect(stdout).not.toMatch(/^E(\b|:|,)/m);
    if (command === 'inspect') expect(stdout).toContain('\\u001b[2J\\u000aE');
  }
});

test('a log with evil words', () => {
  const { stdout, stderr } = virtkit(['explain', `Unknown ramblock "${EVIL}", cannot accept migration`]);
  expect(stdout + stderr).toContain('amblock');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
  expect(stdout + stderr).not.toMatch(/[\x1b\x9b\u202e]/);
});
