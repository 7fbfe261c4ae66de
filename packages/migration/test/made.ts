/** Streams made by hand: what a stranger could send. */

/** The characters of a name, a byte each. */
export const text = (value: string): Uint8Array => Buffer.from(value, 'latin1');
/** A number in network order. */
export const be32 = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
/** A number of 64 bits in network order. */
export const be64 = (value: number): Uint8Array =>
  Buffer.concat([be32(Math.floor(value / 2 ** 32)), be32(value)]);

/** Magic, version, configuration. */
export function preamble(machine = 'pc-q35-7.2'): Uint8Array {
  return Buffer.concat([text('QEVM'), be32(3), Uint8Array.of(7), be32(machine.length), text(machine)]);
}

/** START and END of RAM, with one block and no page. */
export function ram(size = 0x1000): Uint8Array {
  const footer = Buffer.concat([Uint8Array.of(0x7e), be32(2)]);
  return Buffer.concat([ramStart(size), be64(0x10), footer, Uint8Array.of(3), be32(2), be64(0x10), footer]);
}

/** START of RAM up to where its first page may come. */
export function ramStart(size = 0x1000): Uint8Array {
  return Buffer.concat([
    Uint8Array.of(1),
    be32(2),
    Uint8Array.of(3),
    text('ram'),
    be32(0),
    be32(4),
    be64(size + 4),
    Uint8Array.of(6),
    text('pc.ram'),
    be64(size),
  ]);
}

/** Header of a section of kind FULL. */
export function header(id: number, idstr: string, version = 1, instance = 0): Uint8Array {
  return Buffer.concat([
    Uint8Array.of(4),
    be32(id),
    Uint8Array.of(idstr.length),
    text(idstr),
    be32(instance),
    be32(version),
  ]);
}

export function footer(id: number): Uint8Array {
  return Buffer.concat([Uint8Array.of(0x7e), be32(id)]);
}

/** A section of kind FULL. */
export function full(id: number, idstr: string, body: Uint8Array, version = 1, instance = 0): Uint8Array {
  return Buffer.concat([header(id, idstr, version, instance), body, footer(id)]);
}

/** EOF and a vmdesc. */
export function vmdesc(json: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(0, 6), be32(json.length), text(json)]);
}

/** A vmdesc's entry for a section of so many bytes. */
export function described(idstr: string, size: number, type = 'buffer', instance = 0): string {
  return `{"name": "${idstr}", "instance_id": ${instance}, "vmsd_name": "x", "version": 1, "fields": [{"name": "data", "type": "${type}", "size": ${size}}]}`;
}

/** A vmdesc of these entries. */
export function vmdescOf(...entries: readonly string[]): Uint8Array {
  return vmdesc(`{"page_size": 4096, "devices": [${entries.join(', ')}]}`);
}

/** The pieces, one behind the other. */
export function join(...pieces: readonly Uint8Array[]): Uint8Array {
  const all = Buffer.concat(pieces);
  return new Uint8Array(all.buffer, all.byteOffset, all.length);
}
