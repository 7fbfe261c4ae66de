import { type StreamFinding, titleOf } from '@virtkit/migration';
import { type Examined, errorJson, findingJson } from '@virtkit/migration/inspect';
import { hex } from '@virtkit/vmstate';
import { examine, findingsOf, findingText } from './device.ts';
import type { Read } from './read.ts';

/** Result of `virtkit verify`. */
export interface Verification {
  readonly text: string;
  /** True if everything came back and nothing was found. */
  readonly clean: boolean;
}

/** Decodes a stream, encodes it and compares; and checks what the fields promise each other. */
export function verify(read: Read, json: boolean): Verification {
  const devices = examine(read.stream).map((examined) => ({ examined, identical: reencodes(examined) }));
  const { check } = read;
  const whole = check?.complete === true && read.error === undefined;
  const findings = findingsOf(read.stream);
  const clean =
    whole &&
    findings.length === 0 &&
    devices.every(({ examined, identical }) => identical && examined.findings.length === 0);
  if (json) return { clean, text: `${JSON.stringify(toJson(read, devices, findings, whole), null, 2)}\n` };
  const lines = devices.flatMap(({ examined, identical }) => [
    `${titleOf(examined.device)}: ${examined.error === undefined ? (identical ? 'encodes to the same bytes' : 'DIFFERS when encoded') : examined.error.message}`,
    ...examined.findings.map((finding) => `  ${findingText(finding)}`),
  ]);
  const summary = whole
    ? `whole stream: ${read.bytes} bytes, encoded to the same bytes`
    : `whole stream: ${check !== undefined && check.difference >= 0 ? `first difference at byte ${hex(check.difference)}` : 'not readable to its end'}`;
  return { clean, text: `${[...lines, ...findings.map(findingText), summary].join('\n')}\n` };
}

function reencodes({ device, decoded }: Examined): boolean {
  if (decoded === undefined) return false;
  const bytes = device.codec.encode(decoded.state);
  const { body } = device.section;
  return bytes.length === body.length && bytes.every((byte, index) => byte === body[index]);
}

function toJson(
  read: Read,
  devices: readonly { readonly examined: Examined; readonly identical: boolean }[],
  findings: readonly StreamFinding[],
  whole: boolean,
): unknown {
  return {
    format: 1,
    bytes: read.bytes,
    identical: whole,
    ...(read.error !== undefined && { error: errorJson(read.error) }),
    ...(findings.length > 0 && { findings: findings.map(findingJson) }),
    devices: devices.map(({ examined, identical }) => ({
      name: examined.device.name,
      path: examined.device.path,
      identical,
      findings: examined.findings.map(findingJson),
      ...(examined.error !== undefined && { error: errorJson(examined.error) }),
    })),
  };
}
