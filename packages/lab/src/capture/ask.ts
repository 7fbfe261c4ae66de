import type { Qemu } from '../qemu.ts';
import { type JsonObject, type JsonValue, QmpError } from '../qmp.ts';

/** A text of an answer; empty if it is none. */
export const asText = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');

/** Runs a command; `undefined` when QEMU refuses it. */
export async function optional(
  vm: Qemu,
  command: string,
  args: JsonObject = {},
): Promise<JsonValue | undefined> {
  try {
    return await vm.qmp.execute(command, args);
  } catch (error) {
    if (error instanceof QmpError) return undefined;
    throw error;
  }
}
