import type { ValueOf } from '@virtkit/vmstate';
import type { ccw1, orb, pmcw, scsw, senseId } from '../subchannel.ts';
import { COMMAND, ORB0, ORB1, PMCW, PMCW_CHARS } from './bits.ts';

/** Type with the same fields as `T`, which can be set. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Path management control word that can be changed. */
export type Pmcw = Mutable<ValueOf<typeof pmcw>>;
/** Subchannel status word that can be changed. */
export type Scsw = Mutable<ValueOf<typeof scsw>>;
/** Operation-request block, the operand of START SUBCHANNEL. */
export type Orb = ValueOf<typeof orb>;
/** Channel command in the shape of format 1. */
export type Ccw = ValueOf<typeof ccw1>;
/** Answer to SENSE ID. */
export type SenseId = ValueOf<typeof senseId>;

/** Length in bytes of a subchannel information block. All structures in guest memory are big-endian. */
export const SCHIB_BYTES = 52;
/** Length in bytes of an operation request block, the operand of START SUBCHANNEL. */
export const ORB_BYTES = 12;
export const CCW_BYTES = 8;
/** Length in bytes of an interruption response block without the extended measurement word, which is never stored. */
export const IRB_BYTES = 64;
export const SENSE_BYTES = 32;
export const SENSE_ID_BYTES = 256;

/** Offset of the SCSW in a SCHIB. */
const SCHIB_SCSW = 28;
const SCHIB_MBA = 40;
const SCHIB_MDA = 48;

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Subchannel information block, without the status word, which a program cannot set. */
export interface Schib {
  readonly pmcw: Pmcw;
  readonly mba: bigint;
}

export function readSchib(bytes: Uint8Array): Schib {
  const view = viewOf(bytes);
  return {
    pmcw: {
      intparm: view.getUint32(0),
      flags: view.getUint16(4),
      devno: view.getUint16(6),
      lpm: view.getUint8(8),
      pnom: view.getUint8(9),
      lpum: view.getUint8(10),
      pim: view.getUint8(11),
      mbi: view.getUint16(12),
      pom: view.getUint8(14),
      pam: view.getUint8(15),
      chpid: bytes.slice(16, 24),
      chars: view.getUint32(24),
    },
    mba: view.getBigUint64(SCHIB_MBA),
  };
}

/** Can MODIFY SUBCHANNEL take this block? QEMU: `ioinst_schib_valid`. */
export function schibValid({ pmcw, mba }: Schib): boolean {
  if ((pmcw.flags & PMCW.INVALID) !== 0 || (pmcw.chars & PMCW_CHARS.INVALID) !== 0) return false;
  // extended measurements are not there
  if ((pmcw.chars & PMCW_CHARS.XMWME) !== 0) return false;
  return (pmcw.chars & PMCW_CHARS.MBFC) === 0 || (mba & 0x3fn) === 0n;
}

export function writeSchib(
  target: Uint8Array,
  schib: { readonly pmcw: Pmcw; readonly scsw: Scsw; readonly mba: bigint; readonly mda: Uint8Array },
): void {
  const { pmcw, scsw, mba, mda } = schib;
  const view = viewOf(target);
  view.setUint32(0, pmcw.intparm);
  view.setUint16(4, pmcw.flags);
  view.setUint16(6, pmcw.devno);
  target.set([pmcw.lpm, pmcw.pnom, pmcw.lpum, pmcw.pim], 8);
  view.setUint16(12, pmcw.mbi);
  target.set([pmcw.pom, pmcw.pam], 14);
  target.set(pmcw.chpid, 16);
  view.setUint32(24, pmcw.chars);
  writeScsw(target, SCHIB_SCSW, scsw, scsw.flags);
  view.setBigUint64(SCHIB_MBA, mba);
  target.set(mda, SCHIB_MDA);
}

/** Writes a big-endian 16-bit number without a view, into what is stored at each interrupt. */
export function put16(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 8;
  target[at + 1] = value;
}

export function put32(target: Uint8Array, at: number, value: number): void {
  put16(target, at, value >>> 16);
  put16(target, at + 2, value);
}

export function writeScsw(target: Uint8Array, at: number, scsw: Scsw, flags: number): void {
  put16(target, at, flags);
  put16(target, at + 2, scsw.ctrl);
  put32(target, at + 4, scsw.cpa);
  target[at + 8] = scsw.dstat;
  target[at + 9] = scsw.cstat;
  put16(target, at + 10, scsw.count);
}

export function readOrb(bytes: Uint8Array): Orb {
  const view = viewOf(bytes);
  return {
    intparm: view.getUint32(0),
    ctrl0: view.getUint16(4),
    lpm: view.getUint8(6),
    ctrl1: view.getUint8(7),
    cpa: view.getUint32(8),
  };
}

/** Can START SUBCHANNEL take this block? QEMU: `ioinst_orb_valid`. */
export function orbValid({ ctrl0, ctrl1, cpa }: Orb): boolean {
  if ((ctrl0 & ORB0.INVALID) !== 0 || (ctrl1 & ORB1.INVALID) !== 0) return false;
  // modified indirect data addressing is not there
  return (ctrl1 & ORB1.MIDAW) === 0 && cpa < 0x80000000;
}

/** Reads a channel command of either format. QEMU: `copy_ccw_from_guest`. */
export function readCcw(bytes: Uint8Array, format1: boolean): Ccw {
  const view = viewOf(bytes);
  const cmdCode = view.getUint8(0);
  if (format1) {
    return { cmdCode, flags: view.getUint8(1), count: view.getUint16(2), cda: view.getUint32(4) };
  }
  const cda = view.getUint32(0) & 0xffffff;
  // in format 0 only the low digit of a TIC counts, and all else is ignored
  if ((cmdCode & 0x0f) === COMMAND.TIC) return { cmdCode: COMMAND.TIC, flags: 0, count: 0, cda };
  return { cmdCode, flags: view.getUint8(4), count: view.getUint16(6), cda };
}

export function writeSenseId(target: Uint8Array, id: SenseId): void {
  const view = viewOf(target);
  target.fill(0, 0, SENSE_ID_BYTES);
  view.setUint8(0, id.reserved);
  view.setUint16(1, id.cuType);
  view.setUint8(3, id.cuModel);
  view.setUint16(4, id.devType);
  view.setUint8(6, id.devModel);
  view.setUint8(7, id.unused);
  id.ciw.forEach(({ type, command, count }, index) => {
    view.setUint8(8 + 4 * index, type);
    view.setUint8(9 + 4 * index, command);
    view.setUint16(10 + 4 * index, count);
  });
}
