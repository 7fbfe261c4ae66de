export * from './capture.ts';
export * from './guest.ts';
export * from './libvirtd.ts';
export * from './net-guest.ts';
export * from './page-runs.ts';
export * from './parked.ts';
export * from './qemu.ts';
export * from './qmp.ts';
