import { refusal, type Verdict } from '@virtkit/core/qemu';
import type { StateError } from '@virtkit/vmstate';

/** Lines of QEMU for a stream that cannot be read, by code and path of the error, where they are certain. */
const SAYS: Readonly<Record<string, string>> = {
  'magic@stream': 'Not a migration stream',
  'version@version': 'Unsupported migration stream version',
};

/** Codes of errors for files that are no stream, or hold one packed: the reason says what to do. */
const OTHER_FILES: ReadonlySet<string> = new Set(['format', 'memory-dump', 'libvirt-compressed']);

/** Makes the verdict over a stream that ends in an error of the parser. */
export function unreadable({ code, reason, path = '' }: StateError): Verdict {
  const qemuSays = SAYS[`${code}@${path === '' ? 'stream' : path}`];
  return refusal(code, path === '' ? 'stream' : path, reason, {
    ...(qemuSays !== undefined && { qemuSays }),
    ...(!OTHER_FILES.has(code) && { advice: 'take the stream from the source once more' }),
  });
}
