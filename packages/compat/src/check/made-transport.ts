import type { RingFeatures, VirtioState } from '@virtkit/core';
import {
  chosen,
  DEFAULT_CHANGED,
  type DeviceType,
  defined,
  isSince,
  type Making,
  numberOf,
  switchOf,
} from '@virtkit/core/qemu';
import type { PciMode } from '@virtkit/transport-pci';
import type { InferredPci, Made } from '@virtkit/visit';

/**
 * Derives the options of virtkit's transport that QEMU's properties of a device, and the defaults of its machine, stand
 * for.
 */
export function madeTransport(making: Making, type: DeviceType, state: Pick<VirtioState, 'queues'>): Made {
  return {
    pci: (inferred) => {
      const { properties } = making.device;
      const given = numberOf(properties.get('vectors'));
      const side = type.qemu.pci;
      const byDefault =
        side?.vectors === undefined
          ? inferred.vectors
          : side.vectors(making, inferred.vectors, state.queues.length);
      return pciMadeBy(side?.modernOnly ? modernOnly(making) : making, inferred, given ?? byDefault);
    },
    rings: ringsMadeBy(making),
    ...version1MadeBy(making),
  };
}

/** Makes the same device with the modern interface alone. */
function modernOnly(making: Making): Making {
  const properties = new Map(making.device.properties)
    .set('disable-legacy', 'on')
    .set('disable-modern', 'off');
  return { ...making, device: { ...making.device, properties } };
}

function ringsMadeBy(making: Making): RingFeatures {
  const on = (name: string): boolean | undefined => switchOf(making.device.properties.get(name));
  return defined({
    indirect: chosen(making, on('indirect_desc'), true),
    eventIdx: chosen(making, on('event_idx'), true),
    packed: chosen(making, on('packed'), false),
    inOrder: chosen(making, on('in_order'), false),
    notificationData: chosen(making, on('notification_data'), false),
    ringReset: chosen(making, on('queue_reset'), isSince(making, DEFAULT_CHANGED.queue_reset)),
    notifyOnEmpty: on('notify_on_empty'),
    anyLayout: on('any_layout'),
  });
}

/**
 * Derives the options of the PCI function that QEMU makes.
 * @param vectors interrupt vectors; undefined: as many as the function has by itself
 */
function pciMadeBy(making: Making, inferred: InferredPci, vectors: number | undefined): InferredPci {
  const { device, complete } = making;
  const { properties } = device;
  const on = (name: string): boolean | undefined => switchOf(properties.get(name));
  const { ids, vectors: _vectors, machine: _machine, mode: _mode, pagePerVq, ...others } = inferred;
  const mode = modeOf(making, inferred);
  const version = /-\d+\.\d+$/.test(making.machine) ? making.machine : making.qemu.name;
  return {
    ...others,
    mode,
    machine: version,
    // identity follows from the mode
    ...(!complete && mode === inferred.mode && ids !== undefined && { ids }),
    ...(!complete && pagePerVq !== undefined && { pagePerVq }),
    ...defined({
      vectors,
      express: complete ? device.express === true && on('x-disable-pcie') !== true : undefined,
      pagePerVq: on('page-per-vq'),
      // without a modern interface it says nothing
      modernPioNotify: mode === 'legacy' ? false : chosen(making, on('modern-pio-notify'), false),
      aer: chosen(making, on('aer'), false),
      ats: chosen(making, on('ats'), false),
      multifunction: chosen(making, on('multifunction'), false),
      accessPlatform: chosen(making, on('iommu_platform'), false),
    }),
  };
}

/**
 * Finds the interfaces that the function has, by `disable-legacy` and `disable-modern`. The former's default is `auto`:
 * on behind a PCI Express port.
 */
function modeOf(making: Making, inferred: InferredPci): PciMode {
  const { properties, driver, express } = making.device;
  const before = inferred.mode ?? 'transitional';
  const old = !isSince(making, DEFAULT_CHANGED['disable-modern']);
  const noModern =
    switchOf(properties.get('disable-modern')) ?? (making.complete ? old : before === 'legacy');
  const byDefault = making.complete ? express === true && !old : before === 'modern';
  const kind = /-non-transitional$/.test(driver) ? true : /-transitional$/.test(driver) ? false : undefined;
  const noLegacy = switchOf(properties.get('disable-legacy')) ?? kind ?? byDefault;
  return noModern ? 'legacy' : noLegacy ? 'modern' : 'transitional';
}

/** Revision of channel I/O that has no VERSION_1, and the highest one that QEMU has. */
const [REVISION_LEGACY, REVISION_NEWEST] = [0, 2];

/** Finds whether VERSION_1 is offered, for transports that have a property for it; left out: as at the source. */
function version1MadeBy(making: Making): Pick<Made, 'version1'> {
  const { complete, device } = making;
  const { properties, driver } = device;
  const revision = numberOf(properties.get('max_revision'));
  const forceLegacy = switchOf(properties.get('force-legacy'));
  if (driver.endsWith('-ccw') && (revision !== undefined || complete)) {
    const byDefault = isSince(making, DEFAULT_CHANGED.max_revision) ? REVISION_NEWEST : REVISION_LEGACY;
    return { version1: (revision ?? byDefault) > REVISION_LEGACY };
  }
  if (driver.endsWith('-device') && (forceLegacy !== undefined || complete))
    return { version1: !(forceLegacy ?? true) };
  return {};
}
