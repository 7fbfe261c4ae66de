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
    for (const command of ['inspect', 'steps', 'verify']) {
      const { stdout, stderr } = virtkit([command, '-'], { input: evilBytes });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
      expect(stdout + stderr).not.toMatch(/\x1b/);
      expect(stdout + stderr).not.toMatch(/^E(\b|:|,)/m);
      if (command === 'inspect') expect(stdout + stderr).toMatch(shown);
    }
  }
});

test('a log with evil words', () => {
  const { stdout, stderr } = virtkit(['explain', `Unknown ramblock "${EVIL}", cannot accept migration`]);
  expect(stdout + stderr).toContain('amblock');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
  expect(stdout + stderr).not.toMatch(/[\x1b\x9b\u202e]/);
});
