import { delay } from '../qmp.ts';
import { DISK } from './parts.ts';

/**
 * A 64 KiB firmware of our own: fills eight pages from 0x10000 on, then increments a word in each of them for ever. RAM
 * with a few non-zero, ever changing pages, in little space.
 */
function tinyFirmware(): Uint8Array {
  const rom = new Uint8Array(64 * 1024);
  const code = [
    0xb8,
    0x00,
    0x10, // mov ax, 0x1000
    0x8e,
    0xd8, // mov ds, ax
    0x31,
    0xf6, // xor si, si
    // fill: word [si] = 0xa55a until 0x8000
    0xc7,
    0x04,
    0x5a,
    0xa5, // mov word [si], 0xa55a
    0x46,
    0x46, // inc si; inc si
    0x81,
    0xfe,
    0x00,
    0x80, // cmp si, 0x8000
    0x75,
    0xf4, // jne fill
    // again: si = 0
    0x31,
    0xf6, // xor si, si
    // touch: increment a word of each page
    0x0f,
    0x01,
    0x3c, // invlpg [si] (QEMU 7.2 does not notice later writes otherwise)
    0xff,
    0x04, // inc word [si]
    0x81,
    0xc6,
    0x00,
    0x10, // add si, 0x1000
    0x81,
    0xfe,
    0x00,
    0x80, // cmp si, 0x8000
    0x75,
    0xf1, // jne touch
    0xb9,
    0x00,
    0x40, // mov cx, 0x4000
    0xe2,
    0xfe, // loop $
    0xeb,
    0xe8, // jmp again
  ];
  rom.set(code, 0xf000);
  rom.set([0xe9, 0x0d, 0xf0], 0xfff0); // jmp 0xf000
  return rom;
}

export const TINY = { ...DISK, 'tiny.rom': tinyFirmware() };

export const TINY_ARGS = ['-bios', 'tiny.rom', '-cpu', 'qemu64'];

export const runTiny = async (): Promise<void> => delay(700);

export const TINY_STATE = 'no guest; a firmware of a few instructions changes eight pages of RAM for ever';
