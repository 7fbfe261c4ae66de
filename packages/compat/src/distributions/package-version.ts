import type { PackageSince } from './machine-row.ts';

/** Pattern of version and release of a package as RPM writes them: `9.1.0-20.el9`. */
const RPM = /^(\d+(?:\.\d+)*)-(\d+)\.(?:module\+)?(el\d+)(.*)$/;

function numbers(text: string): number[] {
  return text.split(/[.-]/).map(Number);
}

function compareNumbers(a: string, b: string): number {
  const [x, y] = [numbers(a), numbers(b)];
  for (let at = 0; at < Math.max(x.length, y.length); at++) {
    const difference = (x[at] ?? 0) - (y[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * Does a package do what others of its stream do from one on? Undefined: not known. A package of an update stream (`.el9_6`) may have
 * got later what the packages after it have.
 *
 * @param version `9.1.0-20.el9`; undefined where the package is not known
 */
export function isSincePackage(
  version: string | undefined,
  since: readonly PackageSince[],
): boolean | undefined {
  const [, upstream = '', release = '', dist, rest = ''] = RPM.exec(version ?? '') ?? [];
  if (dist === undefined) return undefined;
  const row = since.find((each) => each.dist === dist);
  if (row === undefined) return false;
  if (row.unknownFrom !== undefined && compareNumbers(upstream, row.unknownFrom) >= 0) return undefined;
  if (compareNumbers(`${upstream}-${release}`, row.package) >= 0) return true;
  return row.beforeUnknown === true || rest.startsWith('_') ? undefined : false;
}
