import type { DeviceLayer } from '@virtkit/core';
import {
  bool,
  type Field,
  list,
  StateError,
  u8,
  u32,
  u64,
  type ValueOf,
  vmstate,
  withContext,
} from '@virtkit/vmstate';
import { configSpace, featureNames } from './config-space.ts';

/**
 * Largest number of elements of a tree or a list that are read: more than any guest has, and the bytes run out long
 * before.
 */
const ELEMENTS_MAX = 1 << 24;

/** Field of QEMU's `gtree`: the number of nodes, then each as in a list. */
function tree<T, C>(element: Field<T, C>): Field<readonly T[], C> {
  const nodes = list<T, C>(element, ELEMENTS_MAX, 'gtree');
  return {
    ...nodes,
    minSize: 5,
    decode: (input, context) => {
      const at = input.position;
      const count = input.u32();
      const found = nodes.decode(input, context);
      if (found.length !== count)
        throw new StateError(
          'count',
          `${count} nodes announced, ${found.length} found`,
          { count, found: found.length },
          { offset: at },
        );
      return found;
    },
    encode: (output, value, context) => {
      output.u32(value.length);
      nodes.encode(output, value, context);
    },
  };
}

/** Range of addresses, and where it leads. */
const mapping = vmstate('mapping', 1).fields({
  /** First and last address of the range, as the device behind the IOMMU sees it. */
  low: u64,
  high: u64,
  physAddr: u64,
  /** Flags of the range. Bit 0: read, 1: write, 2: MMIO. */
  flags: u32,
});

/** Facts of the layout that the stream does not tell. */
export interface IommuLayout {
  /** True if there are fields for addresses that pass unchanged: QEMU 7.0 and later, version 2 of the section. */
  readonly bypass: boolean;
}

const withBypass = (_state: object, { bypass }: IommuLayout): boolean => bypass;

const domain = vmstate<IommuLayout>('domain', 2)
  .fields({
    /** Key of the endpoint in the tree: its id again. */
    key: u64,
    id: u32,
    mappings: tree(mapping),
    endpoints: list(vmstate('endpoint', 1).fields({ id: u32 }), ELEMENTS_MAX, 'qlist'),
  })
  .when(withBypass, {
    /** True if addresses pass unchanged. */
    bypass: bool,
  });

/** Structure `virtio-iommu-device`. */
export const iommuState = vmstate<IommuLayout>('virtio-iommu-device', 2)
  .fields({ domains: tree<ValueOf<typeof domain>, IommuLayout>(domain) })
  .when(withBypass, {
    /** Treatment of addresses of endpoints that have no domain; 1: they pass unchanged. */
    bypass: u8,
  });

/** Type of the value that {@link iommuState} decodes. */
export type IommuState = ValueOf<typeof iommuState>;

const [newer, older] = [
  withContext(iommuState, { bypass: true }),
  withContext(iommuState, { bypass: false }),
];

/**
 * Saved state of virtio-iommu: Virtio 1.3 §5.13; QEMU `hw/virtio/virtio-iommu.c`. Version 1 of the section is of QEMU
 * 5.0 to 6.2.
 */
export const iommu: DeviceLayer<IommuState> = {
  contract: 1,
  name: 'virtio-iommu',
  virtioId: 23,
  version: 2,
  minimum: 1,
  features: featureNames('IOMMU', [
    'INPUT_RANGE',
    'DOMAIN_RANGE',
    'MAP_UNMAP',
    'BYPASS',
    'PROBE',
    'MMIO',
    'BYPASS_CONFIG',
  ]),
  loadDevice: () => [newer, older],
  saveDevice: ({ bypass }) => (bypass === undefined ? older : newer),
  describeConfig: configSpace([
    ['pageSizeMask', 'u64'],
    ['inputRangeStart', 'u64'],
    ['inputRangeEnd', 'u64'],
    ['domainRangeStart', 'u32'],
    ['domainRangeEnd', 'u32'],
    ['probeSize', 'u32'],
    ['bypass', 'u8'],
  ]),
};
