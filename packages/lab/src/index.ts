export * from './capture.ts';
export * from './guest.ts';
export * from './net-guest.ts';
export * from './parked.ts';
export * from './qemu.ts';
export * from './qmp.ts';
