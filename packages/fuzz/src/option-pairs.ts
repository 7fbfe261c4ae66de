// QEMU's KEY=VALUE,… read apart from the packages that are tested.
import { demand } from './target.ts';

/** The pairs of an option, each as often as it is there; the first word may stand for a key. A comma inside a value is written twice. */
export function optionPairs(text: string, firstKey: string): [key: string, value: string][] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .map((word, index): [string, string] => {
      const whole = word.replaceAll('\0', ',');
      const at = whole.indexOf('=');
      if (at > 0) return [whole.slice(0, at), whole.slice(at + 1)];
      return index === 0 ? [firstKey, whole] : [whole, 'on'];
    });
}

/**
 * Demands the keys of an option. @throws OracleError unless each key is one of these, and there once: QEMU takes the
 * last
 */
export function ownKeys(
  what: string,
  pairs: readonly (readonly [string, string])[],
  keys: readonly string[],
): void {
  const seen = new Set<string>();
  for (const [key] of pairs) {
    demand(keys.includes(key), `${what}: the key ${key}`);
    demand(!seen.has(key), `${what}: ${key} is there twice`);
    seen.add(key);
  }
}
