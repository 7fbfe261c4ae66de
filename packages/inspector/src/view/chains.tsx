import { useState } from 'preact/hooks';
import type { ChainRow, QueueChains, Segment } from '../model/types.ts';
import type { Controller } from './controller.ts';
import { counted } from './units.ts';

interface Props {
  readonly controller: Controller;
  /** Number of the device's section. */
  readonly section: number;
  readonly queue: number;
}

/** Chains of a queue in the guest's memory, which is read when somebody asks. */
export function Chains({ controller, section, queue }: Props) {
  const [chains, setChains] = useState<QueueChains | 'asked' | undefined>();
  const follow = async (): Promise<void> => {
    setChains('asked');
    setChains(await controller.chains(section, queue));
  };
  if (chains === undefined)
    return (
      <button type="button" class="follow" onClick={() => void follow()}>
        Follow queue {queue} into the guest&apos;s memory
      </button>
    );
  if (chains === 'asked') return <p aria-busy="true">Reading the guest&apos;s memory…</p>;
  const { waiting, more, taken, trouble, availIdx, usedIdx } = chains;
  return (
    <section class="chains" aria-label={`Queue ${queue} in the guest's memory`}>
      {availIdx !== undefined && (
        <p>
          The driver has made chains available up to index {availIdx}, the device has given them back up to{' '}
          {usedIdx}.
        </p>
      )}
      {trouble !== undefined && <p>Not followed: {trouble}.</p>}
      {taken.length > 0 && <List controller={controller} title="in flight, head" chains={taken} />}
      {waiting.length > 0 && <List controller={controller} title="waits, head" chains={waiting} />}
      {more > 0 && <p>{counted(more, 'chain')} more wait.</p>}
      {trouble === undefined && waiting.length === 0 && <p>No chain waits for the device.</p>}
    </section>
  );
}

interface ListProps {
  readonly controller: Controller;
  readonly title: string;
  readonly chains: readonly ChainRow[];
}

function List({ controller, title, chains }: ListProps) {
  return (
    <ul class="requests">
      {chains.map(({ head, indirect, segments, problem }, n) => (
        <li key={`${n} ${head}`}>
          <strong>
            {title} {head}
          </strong>
          {indirect && ', in a table of its own'} <Segments controller={controller} segments={segments} />
          {problem !== undefined && <span class="problem">{problem}</span>}
        </li>
      ))}
    </ul>
  );
}

/** Number of bytes of a buffer that are shown. */
const SHOWN_BYTES = 256;
/** Number of bytes in a line of them. */
const LINE_BYTES = 16;

/** Buffers of a chain, each of which opens to its bytes in the guest's memory. */
export function Segments({
  controller,
  segments,
}: {
  readonly controller: Controller;
  readonly segments: readonly Segment[];
}) {
  const [open, setOpen] = useState<number>();
  const [bytes, setBytes] = useState<Uint8Array | string>();
  const show = async (n: number, { address, bytes: length }: Segment): Promise<void> => {
    setOpen(open === n ? undefined : n);
    setBytes(undefined);
    if (open !== n) setBytes(await controller.memory(Number(address), Math.min(length, SHOWN_BYTES)));
  };
  const shown = open === undefined ? undefined : segments[open];
  return (
    <>
      {segments.map((segment, n) => (
        <button
          key={`${n} ${segment.address}`}
          type="button"
          class="segment"
          aria-expanded={open === n}
          title={segment.writable ? 'the device writes it' : 'the device reads it'}
          onClick={() => void show(n, segment)}
        >
          {segment.writable ? '←' : '→'} {segment.address}+{segment.bytes}
        </button>
      ))}
      {shown !== undefined && typeof bytes === 'string' && <p>Not in the stream: {bytes}.</p>}
      {shown !== undefined && typeof bytes === 'object' && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what is wider than a phone is scrolled by keys, too
        <section class="wide" tabIndex={0} aria-label={`Bytes at ${shown.address}`}>
          <pre class="dump">
            {dumped(Number(shown.address), bytes)}
            {shown.bytes > SHOWN_BYTES && `\n… ${shown.bytes - SHOWN_BYTES} bytes more`}
          </pre>
        </section>
      )}
    </>
  );
}

/** Writes bytes as lines of their address, the bytes, and the characters that they are. */
function dumped(address: number, bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const line = [...bytes.subarray(at, at + LINE_BYTES)];
    const digits = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = line.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${(address + at).toString(16)}  ${digits.padEnd(3 * LINE_BYTES - 1)}  ${text}`);
  }
  return lines.join('\n');
}
