import type { Outcome } from './faults.ts';

/**
 * The guest's part, for a busybox: works on each disk by itself, in the background, and says what became of it; at a line on its console it
 * touches all disks once more, which wakes those whose interrupt was lost.
 */
export const GUEST_SCRIPT = `
for disk in /sys/block/vd*; do
  (
    name=$(cat $disk/serial); disk=/dev/\${disk##*/}
    dd if=/dev/urandom of=/tmp/$name bs=4k count=8 2>/dev/null
    if ! dd if=/tmp/$name of=$disk bs=4k seek=8 oflag=direct 2>/dev/null; then echo TEST $name WRITE-ERROR
    elif ! dd if=$disk of=/tmp/$name.read bs=4k skip=8 count=8 iflag=direct 2>/dev/null; then echo TEST $name READ-ERROR
    elif cmp -s /tmp/$name /tmp/$name.read; then echo TEST $name FINE
    else echo TEST $name DIFFERENT; fi
  ) &
done
read line
for disk in /dev/vd*; do (dd if=$disk of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null) & done
read line
dmesg | grep -i virtio
echo TESTS OVER
`;

/** What the guest has said until now, by name of the disk. */
export function outcomes(console: string): ReadonlyMap<string, string> {
  return new Map(
    [...console.matchAll(/TEST (\S+) ([A-Z-]+)\r?\n/g)].map(([, name = '', what = '']) => [name, what]),
  );
}

/** What became of a disk, from what was said before the second touch and after it. */
export function outcomeOf(
  name: string,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string {
  const said = before.get(name);
  if (said !== undefined) return said;
  const late = after.get(name);
  const woken: Outcome = 'WOKEN';
  const hangs: Outcome = 'HANGS';
  return late === undefined ? hangs : late === 'FINE' ? woken : late;
}
