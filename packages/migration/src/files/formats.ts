// What people keep streams in, or take for one: what it is, what it holds, and what to do.
import { latin1, StateError } from '@virtkit/vmstate';
import { COMPRESSIONS } from '../libvirt.ts';

/** First four bytes of a qcow2 image: `QFI` and 0xfb. */
export const QCOW2_MAGIC = 0x514649fb;

/** Number of bytes of a file that are needed to tell its format: the header of a libvirt save file is the longest. */
export const HEAD_BYTES = 92;

/** Ways in which streams are packed. Whether one can be unpacked is for the program to say. */
export type Packing = 'gzip' | 'zstd' | 'xz' | 'bzip2' | 'lzop' | 'lz4';

/** Format of a file: how the stream is to be had from its bytes. */
export interface Format {
  /** Way in which the stream is packed; undefined: it is not packed. */
  readonly packing: Packing | undefined;
  /** Number of bytes in front of the packed stream, in a libvirt save file. */
  readonly plainBytes: number;
}

interface Packer {
  readonly magic: readonly number[];
  readonly name: Packing;
  readonly unpack: string;
}

const PACKERS: readonly Packer[] = [
  { magic: [0x1f, 0x8b], name: 'gzip', unpack: 'gzip -dc' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], name: 'zstd', unpack: 'zstd -dc' },
  { magic: [0xfd, 0x37, 0x7a, 0x58], name: 'xz', unpack: 'xz -dc' },
  { magic: [0x42, 0x5a, 0x68], name: 'bzip2', unpack: 'bzip2 -dc' },
  { magic: [0x89, 0x4c, 0x5a, 0x4f], name: 'lzop', unpack: 'lzop -dc' },
  { magic: [0x04, 0x22, 0x4d, 0x18], name: 'lz4', unpack: 'lz4 -dc' },
];

/** Memory dumps by their first bytes. QEMU: `dump/dump.c`, `dump/win_dump.c`; makedumpfile: `diskdump_mod.h` */
const DUMPS: readonly (readonly [magic: string, name: string])[] = [
  ['KDUMP   ', 'kdump-compressed'],
  ['DISKDUMP', 'diskdump'],
  ['makedumpfile', 'flattened kdump-compressed'],
  ['PAGEDUMP', 'Windows'],
  ['PAGEDU64', 'Windows'],
];
/** Value of `e_type` in a core file, in the ELF specification's words. */
const ET_CORE = 4;

/**
 * Tells what a file is by its first bytes, of which there are {@link HEAD_BYTES} unless it is shorter.
 *
 * @param can is there something that unpacks that?
 * @throws StateError `format` for what is no stream and not unpacked here; `memory-dump`; `libvirt-compressed`
 */
export function formatOf(head: Uint8Array, can: (packing: Packing) => boolean): Format {
  const libvirt = libvirtFormat(head, can);
  if (libvirt !== undefined) return libvirt;
  refuseDump(head);
  const packer = PACKERS.find(({ magic }) => magic.every((byte, at) => head[at] === byte));
  if (packer !== undefined)
    return { packing: packingOf(packer.name, can) ?? refusePacked(packer), plainBytes: 0 };
  if (word(head, 0, false) === QCOW2_MAGIC)
    refuse(
      'format',
      'a qcow2 image: its snapshots can be read where it is a file, not from a pipe or packed',
    );
  return { packing: undefined, plainBytes: 0 };
}

function refuse(code: string, what: string): never {
  throw new StateError(code, `not a migration stream but ${what}`, {}, { layer: 'stream', offset: 0 });
}

function refusePacked({ name, unpack }: Packer): never {
  refuse('format', `${name} data: unpack it first (${unpack} FILE | virtkit … -)`);
}

function packingOf(name: string, can: (packing: Packing) => boolean): Packing | undefined {
  const packing = PACKERS.find((packer) => packer.name === name)?.name;
  return packing !== undefined && can(packing) ? packing : undefined;
}

/** Is this the code of an error of damaged packed data? */
export function isPackingCode(code: string): boolean {
  return PACKERS.some(({ name }) => name === code);
}

function word(head: Uint8Array, at: number, little: boolean): number {
  return head.length < at + 4 ? 0 : new DataView(head.buffer, head.byteOffset).getUint32(at, little);
}

function refuseDump(head: Uint8Array): void {
  const text = latin1(head.subarray(0, 16));
  const name = text.startsWith('\x7fELF')
    ? elfDump(head)
    : DUMPS.find(([magic]) => text.startsWith(magic))?.[1];
  if (name === undefined) return;
  refuse(
    'memory-dump',
    `a memory dump (${name}): it holds the guest's memory and its processors' registers, for debuggers, and the state of no device. The devices are in what QEMU's migrate, virsh save, or virsh dump without --memory-only writes`,
  );
}

/** Names the kind of dump that an ELF file is. @throws StateError `format` for an ELF file that is no dump */
function elfDump(head: Uint8Array): string {
  const [type = 0, other = 0] = head[5] === 2 ? [head[17], head[16]] : [head[16], head[17]];
  if (type === ET_CORE && other === 0) return 'ELF core';
  return refuse('format', 'an ELF file: a program or a part of one');
}

/** Offsets in bytes of words of libvirt's header. libvirt: `virQEMUSaveHeader` */
const LIBVIRT = { VERSION: 16, DATA_LENGTH: 20, COMPRESSED: 28 } as const;
const LIBVIRT_MAGICS = ['LibvirtQemudSave', 'LibvirtQemudPart'];

function isLittle(head: Uint8Array): boolean {
  // the version is a small number
  return word(head, LIBVIRT.VERSION, true) <= word(head, LIBVIRT.VERSION, false);
}

/** A libvirt save file with a packed stream; undefined for everything else, raw ones too. */
function libvirtFormat(head: Uint8Array, can: (packing: Packing) => boolean): Format | undefined {
  if (head.length < HEAD_BYTES || !LIBVIRT_MAGICS.includes(latin1(head.subarray(0, 16)))) return undefined;
  const name = COMPRESSIONS[word(head, LIBVIRT.COMPRESSED, isLittle(head))];
  const plainBytes = HEAD_BYTES + word(head, LIBVIRT.DATA_LENGTH, isLittle(head));
  if (name === undefined || name === 'raw' || name === 'sparse') return undefined;
  const packing = packingOf(name, can);
  if (packing !== undefined) return { packing, plainBytes };
  const { unpack } = PACKERS.find((packer) => packer.name === name) ?? { unpack: `${name} -dc` };
  throw new StateError(
    'libvirt-compressed',
    `a libvirt save file whose stream is packed with ${name} (save_image_format in qemu.conf). It holds the whole machine; unpack it first (tail -c +${plainBytes + 1} FILE | ${unpack} | virtkit … -)`,
    { format: name },
    { layer: 'stream', offset: 0 },
  );
}

/** The header of a libvirt save file, as it is of one that is not packed. */
export function asRaw(header: Uint8Array): Uint8Array {
  const raw = header.slice();
  raw.fill(0, LIBVIRT.COMPRESSED, LIBVIRT.COMPRESSED + 4);
  return raw;
}
