/** Largest number of bits of a legacy driver's page size, whose register has 32 bits. */
export const PAGE_SHIFT_MAX = 31;
