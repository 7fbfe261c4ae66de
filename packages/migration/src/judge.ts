import type { StreamFinding } from './events.ts';
import { streamFinding } from './finding.ts';
import type { MigrationStream, StreamSection } from './model.ts';
import { type Registry, splitIdstr } from './registry.ts';
import { findVirtio, lengthsOf } from './virtio.ts';
import { be32, isPrintable, TYPE } from './wire.ts';

/**
 * Lists what makes it doubtful that a destination takes a stream apart in the same way: what the parser found, devices
 * of the registry inside of sections whose end only the vmdesc tells, and devices that the vmdesc denies.
 */
export function judgeStream(stream: MigrationStream, registry: Registry): StreamFinding[] {
  return [
    ...(stream.findings ?? []),
    ...stream.sections.flatMap((section) => judgeSection(section, registry)),
  ];
}

function judgeSection(section: StreamSection, registry: Registry): StreamFinding[] {
  const { header, body, description } = section;
  const { idstr, offset } = header;
  const device = findVirtio(section, registry);
  const fields = description?.fields;
  const denied =
    device !== undefined && fields !== undefined && !fields.some(({ type }) => type === 'virtio')
      ? [
          streamFinding(
            'vmdesc-type',
            idstr,
            'the bytes are a virtio device, and the vmdesc does not say so',
            { section: idstr },
            offset,
          ),
        ]
      : [];
  // a declared length is certain: what stands inside is the device's
  const lengths = lengthsOf(header, body, registry);
  if (lengths?.includes(body.length) === true) return denied;
  const hidden = findHidden(body, registry);
  if (hidden === undefined) return denied;
  return [
    ...denied,
    streamFinding(
      'hidden-device',
      idstr,
      `section "${hidden.idstr}" stands inside, ${hidden.at} bytes behind its beginning: it is one of its own if this one ends in front of it`,
      { section: idstr, hidden: hidden.idstr, at: hidden.at },
      offset,
    ),
  ];
}

/** Finds the first header of a section of a registered device in some bytes. */
function findHidden(
  bytes: Uint8Array,
  registry: Registry,
): { readonly at: number; readonly idstr: string } | undefined {
  const names = new Set(registry.devices.map(({ name }) => name));
  for (const type of [TYPE.FULL, TYPE.START]) {
    for (let at = bytes.indexOf(type); at >= 0; at = bytes.indexOf(type, at + 1)) {
      const idstr = nameAt(bytes, at);
      if (idstr !== undefined && names.has(splitIdstr(idstr).name)) return { at, idstr };
    }
  }
  return undefined;
}

/**
 * Reads the name in a section header that would begin at `at`: type, be32 id, counted name, be32 instance, be32
 * version.
 */
function nameAt(bytes: Uint8Array, at: number): string | undefined {
  const length = bytes[at + 5] ?? 0;
  const end = at + 6 + length;
  if (length === 0 || end + 8 > bytes.length || be32(bytes, end + 4) > 0xffff) return undefined;
  let name = '';
  for (let i = at + 6; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (!isPrintable(byte)) return undefined;
    name += String.fromCharCode(byte);
  }
  return name;
}
