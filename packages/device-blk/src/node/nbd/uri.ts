import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { HostError } from '@virtkit/core';

/** Address of a server, with the export that is meant, and how the connection is protected. */
export interface NbdAddress {
  /** Text of the URI without what is secret, for messages. */
  readonly text: string;
  readonly place: { readonly path: string } | { readonly host: string; readonly port: number };
  /** The default export has the empty name. */
  readonly exportName: string;
  /** Absent: no TLS. */
  readonly tls?: ConnectionOptions;
}

const DEFAULT_PORT = 10809;
const SCHEMES: Readonly<Record<string, { readonly unix: boolean; readonly tls: boolean }>> = {
  'nbd:': { unix: false, tls: false },
  'nbds:': { unix: false, tls: true },
  'nbd+unix:': { unix: true, tls: false },
  'nbds+unix:': { unix: true, tls: true },
};
const PARAMETERS = ['socket', 'tls-certificates', 'tls-psk-file', 'tls-hostname'];

/**
 * Reads an NBD URI (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md): `nbd://host[:port]/[export]`, `nbds://…`,
 * `nbd+unix:///[export]?socket=PATH`, `nbds+unix://…`. With TLS `tls-certificates=DIR` names a folder with `ca-cert.pem` and, if the server
 * asks for them, `client-cert.pem` and `client-key.pem`; `tls-psk-file=FILE` a file of `user:hex key` lines.
 *
 * @throws HostError for what is no such URI
 */
export function nbdAddress(uri: string | { readonly href: string }, tls?: ConnectionOptions): NbdAddress {
  const url = parse(typeof uri === 'string' ? uri : uri.href);
  const scheme = SCHEMES[url.protocol];
  if (scheme === undefined)
    throw new HostError(`${url.protocol}// is no NBD address: nbd, nbds, nbd+unix or nbds+unix expected`);
  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.includes(name)) throw new HostError(`NBD address: there is no parameter "${name}"`);
  }
  if (!scheme.tls && tls !== undefined) throw new HostError(`${url.protocol}// has no TLS; nbds is meant`);
  const place = scheme.unix ? unixPlace(url) : tcpPlace(url);
  const exportName = decoded(url.pathname.replace(/^\//, ''));
  if (Buffer.byteLength(exportName) > 4096)
    throw new HostError('NBD address: the name of an export has 4096 bytes at most');
  const where =
    'path' in place
      ? `${url.protocol}//?socket=${place.path}`
      : `${url.protocol}//${place.host}:${place.port}`;
  return {
    text: exportName === '' ? where : `${where} export ${JSON.stringify(exportName)}`,
    place,
    exportName,
    ...(scheme.tls && { tls: { ...tlsOf(url, place), ...tls } }),
  };
}

function parse(uri: string): URL {
  try {
    // libnbd's form of a user without a host, which `URL` does not take
    return new URL(uri.replace(/^(nbds?\+unix:\/\/[^/?#]*@)(?=[/?])/, '$1localhost'));
  } catch {
    throw new HostError(
      'an NBD address is expected, such as nbd://localhost/export or nbd+unix:///export?socket=PATH',
    );
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new HostError(`NBD address: "${text}" is not percent-encoded as UTF-8`);
  }
}

function unixPlace(url: URL): { path: string } {
  const path = url.searchParams.get('socket');
  if (path === null || path === '') throw new HostError(`${url.protocol}// needs ?socket=PATH`);
  return { path };
}

function tcpPlace(url: URL): { host: string; port: number } {
  if (url.hostname === '') throw new HostError(`${url.protocol}// needs a host`);
  if (url.searchParams.has('socket'))
    throw new HostError(`${url.protocol}// takes no socket; ${url.protocol.slice(0, -1)}+unix is meant`);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: url.port === '' ? DEFAULT_PORT : Number(url.port) };
}

function tlsOf(url: URL, place: NbdAddress['place']): ConnectionOptions {
  const servername = url.searchParams.get('tls-hostname') ?? ('host' in place ? place.host : 'localhost');
  const keys = url.searchParams.get('tls-psk-file');
  if (keys !== null) return preShared(keys, decoded(url.username));
  const folder = url.searchParams.get('tls-certificates');
  // an address is not a name that a client may send; the certificate is compared with it all the same
  const name = /^[\d.]+$|:/.test(servername) ? { host: servername } : { servername };
  return folder === null ? name : { ...name, ...certificates(folder) };
}

/** The file names are those of QEMU, nbdkit and libnbd. */
function certificates(folder: string): ConnectionOptions {
  const optional = (name: string): string | undefined => {
    try {
      return readFileSync(join(folder, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  };
  const [cert, key] = [optional('client-cert.pem'), optional('client-key.pem')];
  return {
    ca: readFileSync(join(folder, 'ca-cert.pem'), 'utf8'),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}

function preShared(file: string, user: string): ConnectionOptions {
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .find((text) => (user === '' ? text.includes(':') : text.startsWith(`${user}:`)));
  const [, identity = '', hex = ''] = /^([^:]+):([0-9a-fA-F]+)\s*$/.exec(line ?? '') ?? [];
  if (identity === '')
    throw new HostError(
      `${file} has no key${user && ` of ${JSON.stringify(user)}`}: lines "user:hex" expected`,
    );
  const psk = Buffer.from(hex, 'hex');
  return {
    pskCallback: () => ({ psk, identity }),
    ciphers: 'PSK',
    // Node offers keys of this kind up to TLS 1.2
    maxVersion: 'TLSv1.2',
    // both sides have shown that they know the key; there is no certificate
    checkServerIdentity: () => undefined,
  };
}
