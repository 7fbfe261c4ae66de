import { StateError } from '@virtkit/vmstate';

/**
 * Reads the version of a Linux from its release: `5.14.0-570.el9.x86_64` is 5.14.
 * @throws StateError `target` for text without one
 */
export function kernelVersion(release: string): string {
  const [, major, minor] = /^(\d{1,3})\.(\d{1,3})(?:[.\-+~_ ]|$)/.exec(release) ?? [];
  if (major === undefined)
    throw new StateError('target', `"${release}": the version of a Linux expected, such as 6.1`, { release });
  return `${Number(major)}.${Number(minor)}`;
}
