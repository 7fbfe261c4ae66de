import { StateError } from '@virtkit/vmstate';
import { be32 } from './split.ts';
import { TYPE } from './wire.ts';

/** A field in a vmdesc. Everything is optional: the text comes from a stranger. */
export interface DescField {
  readonly name?: string;
  readonly type?: string;
  readonly size?: number;
  readonly array_len?: number;
  readonly index?: number;
  readonly struct?: DescVmsd;
  /** `vstruct`, `qtailq`, `qlist`, `gtree`, `tmp` have the nested vmsd's members directly. */
  readonly vmsd_name?: string;
  readonly fields?: readonly DescField[];
}

/** A vmsd in a vmdesc. */
export interface DescVmsd {
  readonly vmsd_name?: string;
  readonly version?: number;
  readonly fields?: readonly DescField[];
  readonly subsections?: readonly DescVmsd[];
}

/** A device in a vmdesc. */
export interface DescDevice extends DescVmsd {
  readonly name?: string;
  readonly instance_id?: number;
  /** Of devices with an old-style handler. */
  readonly size?: number;
}

/** What QEMU writes behind the end of a stream, for its own `analyze-migration.py`. */
export interface Vmdesc {
  readonly page_size?: number;
  readonly configuration?: DescVmsd;
  readonly devices: readonly DescDevice[];
}

/** @throws StateError `vmdesc` */
export function parseVmdesc(text: Uint8Array): Vmdesc {
  let json: unknown;
  try {
    json = JSON.parse(textOf(text));
  } catch {
    throw new StateError(
      'vmdesc',
      'the vmdesc is not JSON',
      { bytes: text.length },
      { layer: 'stream', path: 'vmdesc' },
    );
  }
  const devices = isObject(json) && Array.isArray(json['devices']) ? json['devices'] : undefined;
  if (!isObject(json) || devices === undefined || !devices.every(isObject)) {
    throw new StateError(
      'vmdesc',
      'the vmdesc has no list of devices',
      { bytes: text.length },
      { layer: 'stream', path: 'vmdesc' },
    );
  }
  return { ...json, devices } as Vmdesc;
}

/**
 * The vmdesc at the end of `bytes`, found as analyze-migration.py does: JSON never contains NUL, and the first byte of
 * the length in front of it is one.
 */
export function findVmdesc(bytes: Uint8Array): Vmdesc | undefined {
  const brace = bytes.lastIndexOf(0) + 1;
  const start = bytes.indexOf(0x7b, Math.max(brace, 5));
  if (start < 5 || start - brace > 3) return undefined;
  const length = be32(bytes, start - 4);
  if (bytes[start - 5] !== TYPE.VMDESCRIPTION || start + length !== bytes.length) return undefined;
  try {
    return parseVmdesc(bytes.subarray(start));
  } catch {
    return undefined;
  }
}

/** Bytes of a device's section by its vmdesc; undefined if the text is not usable. */
export function deviceSize(device: DescDevice): number | undefined {
  return device.fields === undefined ? undefined : vmsdSize(device, 0);
}

/** Deepest nesting believed. QEMU's is under ten. */
const DEPTH_MAX = 32;

function vmsdSize(vmsd: DescVmsd, depth: number): number | undefined {
  if (depth > DEPTH_MAX) return undefined;
  let sum = 0;
  for (const field of vmsd.fields ?? []) {
    const count = field.array_len ?? 1;
    if (!isCount(field.size) || !isCount(count)) return undefined;
    sum += field.size * count;
  }
  for (const subsection of vmsd.subsections ?? []) {
    const size = vmsdSize(subsection, depth + 1);
    if (size === undefined) return undefined;
    // type byte, counted name, be32 version
    sum += 2 + (subsection.vmsd_name ?? '').length + 4 + size;
  }
  return sum;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Names in a vmdesc are ASCII; anything else survives as Latin-1. */
function textOf(text: Uint8Array): string {
  let out = '';
  for (let at = 0; at < text.length; at += 8192) out += fromBytes(text.subarray(at, at + 8192));
  return out;
}

function fromBytes(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
