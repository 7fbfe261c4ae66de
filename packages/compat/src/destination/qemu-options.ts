/** Names of options that take no value; all others have one. */
const FLAGS = new Set(
  lines(
    'S s h help version usb nodefaults no-user-config nodefconfig preconfig only-migratable daemonize snapshot nographic enable-kvm',
    'no-reboot no-shutdown no-acpi no-hpet no-fd-bootchk mem-prealloc async-teardown singlestep enable-sync-profile',
    'enable-fips perfmap jitdump semihosting old-param audio-help win2k-hack xen-attach xen-domid-restrict',
    'curses sdl full-screen portrait no-frame no-quit alt-grab ctrl-grab show-cursor',
  ),
);

/** Options with a value that decide nothing about a load: back ends, debugging, what is outside of the machine. */
const HARMLESS = new Set(
  lines(
    'D L accel acpitable action add-fd append audiodev boot chardev chroot compat cpu d debugcon dfilter display',
    'dtb dump-vmstate echr fsdev fw_cfg gdb icount incoming initrd iscsi k kernel loadvm mem-path mon monitor msg name option-rom',
    'overcommit pidfile plugin qmp qmp-pretty qtest qtest-log realtime rotate rtc run-with runas sandbox secret seed',
    'semihosting-config shim smbios spice tb-size tpmdev trace uuid vnc watchdog-action writeconfig',
    'fda fdb mtdblock sd usbdevice g vnc-tls xen-domid',
    // of Proxmox' QEMU: a number for people who look at the list of processes
    'id',
  ),
);

/** Names of flags that decide nothing about a load. */
const HARMLESS_FLAGS = new Set(
  [...FLAGS].filter((name) => !/^(nodefaults|no-acpi|no-hpet|xen-attach)$/.test(name)),
);

function lines(...texts: readonly string[]): string[] {
  return texts.flatMap((text) => text.split(' '));
}

/** Finds the name of an option: `--name` is `-name`. */
export function optionName(word: string): string {
  return word.replace(/^--?/, '');
}

export function takesValue(word: string): boolean {
  return !FLAGS.has(optionName(word));
}

/** Does nothing about a load follow from this option? */
export function isHarmless(name: string): boolean {
  return HARMLESS.has(name) || HARMLESS_FLAGS.has(name);
}
