/** Streams of the corpus, and the registry that reads them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blk } from '@virtkit/device-blk';
import { net } from '@virtkit/device-net';
import { otherDevices } from '@virtkit/device-states';
import { type MigrationStream, parseStream } from '@virtkit/migration';
import { ccw } from '@virtkit/transport-ccw';
import { mmio } from '@virtkit/transport-mmio';
import { pci } from '@virtkit/transport-pci';

export const registry = { transports: [pci, ccw, mmio], devices: [net, blk, ...otherDevices] };

const corpus = new URL('../../lab/streams/', import.meta.url);

/** Names of all streams, with the version of the QEMU that wrote them. */
export function streamNames(): { readonly name: string; readonly version: string }[] {
  return readdirSync(corpus).flatMap((version) =>
    readdirSync(new URL(`${version}/`, corpus))
      .filter((file) => file.endsWith('.mig.gz'))
      .map((file) => ({ name: file.slice(0, -'.mig.gz'.length), version })),
  );
}

function fileOf(name: string, suffix: string): Buffer {
  const version = readdirSync(corpus).find((each) => existsSync(new URL(`${each}/${name}${suffix}`, corpus)));
  if (version === undefined) throw new Error(`no stream ${name} in the corpus`);
  return readFileSync(new URL(`${version}/${name}${suffix}`, corpus));
}

export function readStream(name: string): MigrationStream {
  return parseStream(gunzipSync(fileOf(name, '.mig.gz')));
}

/** The command line of the QEMU that wrote it. */
export function commandLineOf(name: string): readonly string[] {
  const info = JSON.parse(fileOf(name, '.json').toString()) as { readonly command_line: readonly string[] };
  return info.command_line;
}
