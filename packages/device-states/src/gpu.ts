import type { DeviceLayer } from '@virtkit/core';
import { type Field, isStateError, type Json, Reader, s32, u32, u64, vmstate } from '@virtkit/vmstate';
import { configSpace, featureNames } from './config-space.ts';
import { type EmptyState, empty } from './empty.ts';

/** Length in bytes of a pixel, in all formats that 2D resources have. */
const PIXEL_BYTES = 4;

/** State of a 2D resource; its picture follows. QEMU: `virtio_gpu_save` */
const resource = vmstate('resource', 1)
  .fields({
    width: u32,
    height: u32,
    /** Format of the resource's pixels. Virtio 1.3 §5.7.6.8 `enum virtio_gpu_formats` */
    format: u32,
    iovCnt: u32,
  })
  /** Addresses of the guest memory behind the resource. */
  .array('iov', vmstate('iov', 1).fields({ addr: u64, len: u32 }), ({ iovCnt }) => iovCnt);

const scanout = vmstate('virtio-gpu-one-scanout', 1).fields({
  /** Number of the resource that is shown; 0: off. */
  resourceId: u32,
  width: u32,
  height: u32,
  x: s32,
  y: s32,
  cursorResourceId: u32,
  cursorHotX: u32,
  cursorHotY: u32,
  cursorX: u32,
  cursorY: u32,
});

/** State of a scanout since QEMU 8.2. */
const scanoutWithFramebuffer = scanout.fields({
  /** Format of a blob resource's pixels; this and what follows say how the picture lies in the blob. */
  fbFormat: u32,
  fbBytesPp: u32,
  fbWidth: u32,
  fbHeight: u32,
  fbStride: u32,
  fbOffset: u32,
});

/**
 * Reads resources with their pictures, which are passed over, up to the scanouts. @throws StateError where it is
 * something else
 */
function readResources(
  input: Reader,
  keep: (resource: Json) => void,
): { enable: number; maxOutputs: number } {
  for (let resourceId = input.u32(); resourceId !== 0; resourceId = input.u32()) {
    const value = resource.decode(input, undefined);
    const imageBytes = value.width * value.height * PIXEL_BYTES;
    input.take(imageBytes);
    keep({ resourceId, ...(resource.toJSON(value) as object), imageBytes });
  }
  return { enable: input.u32(), maxOutputs: input.u32() };
}

/**
 * Reads what QEMU writes behind core's part, by name; pictures as their length. @throws StateError where it is
 * something else
 */
function readRest(input: Reader): Json {
  const resources: Json[] = [];
  const { enable, maxOutputs } = readResources(input, (value) => resources.push(value));
  const form: Field<object> =
    input.remaining >= maxOutputs * scanoutWithFramebuffer.minSize ? scanoutWithFramebuffer : scanout;
  const scanouts: Json[] = [];
  for (let n = 0; n < maxOutputs; n++) scanouts.push(form.toJSON(form.decode(input, undefined)));
  return { resources, enable, scanouts, ...(input.remaining > 0 && { moreBytes: input.remaining }) };
}

function describeRest(bytes: Uint8Array): Json | undefined {
  return unlessOther(() => readRest(new Reader(bytes)));
}

/**
 * Finds the lengths of the rest in the two forms that scanouts have. With blobs more stands behind them, whose length
 * is not known.
 */
function restLengths(bytes: Uint8Array): readonly number[] {
  const input = new Reader(bytes);
  const outputs = unlessOther(() => readResources(input, () => {}).maxOutputs);
  if (outputs === undefined) return [];
  return [scanoutWithFramebuffer, scanout]
    .map(({ minSize }) => input.offset + outputs * minSize)
    .filter((length) => length <= bytes.length);
}

/** Reads bytes; undefined where they are something else. */
function unlessOther<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isStateError(error)) return undefined;
    throw error;
  }
}

/**
 * Saved state of virtio-gpu: Virtio 1.3 §5.7; QEMU `hw/display/virtio-gpu.c`. It is not what the procedure calls the
 * device's, but stands behind it: `rest`.
 */
export const gpu: DeviceLayer<EmptyState> = {
  ...empty(
    'virtio-gpu',
    16,
    featureNames('GPU', [
      'VIRGL',
      'EDID',
      'RESOURCE_UUID',
      'RESOURCE_BLOB',
      'CONTEXT_INIT',
      'BLOB_ALIGNMENT',
    ]),
    configSpace([
      ['eventsRead', 'u32'],
      ['eventsClear', 'u32'],
      ['numScanouts', 'u32'],
      ['numCapsets', 'u32'],
      ['blobAlignment', 'u32'],
    ]),
  ),
  hasRest: true,
  describeRest,
  restLengths,
};
