import {
  type Report,
  reportError,
  reportWarning,
  type TransportIdentity,
  type VirtioState,
} from '@virtkit/core/live';
import { SSID_MAX } from './channel/devices.ts';
import type { CcwConfigState, CcwParts } from './subchannel.ts';

/** Name and rules of virtio over channel I/O, without the format of its state. */
export const ccwIdentity: TransportIdentity<CcwParts> = {
  contract: 1,
  name: 'ccw',
  hasVariableVringAlignment: false,
  check,
};

/** Vector that stands for configuration changes. QEMU: `VIRTIO_QUEUE_MAX`. */
const CONFIG_VECTOR = 0x400;
const NO_VECTOR = 0xffff;
const ISC_MAX = 7;

function check(state: VirtioState<CcwParts>, report: Report): void {
  const { sch, thinintIsc, revision, configVector } = state.transport;
  if (sch.currStatus.pmcw.devno !== sch.devno) {
    reportWarning(
      report,
      'devno',
      'transport.sch.currStatus.pmcw.devno',
      `device number 0x${sch.currStatus.pmcw.devno.toString(16)} in the PMCW, 0x${sch.devno.toString(16)} in the subchannel`,
      { pmcw: sch.currStatus.pmcw.devno, devno: sch.devno },
    );
  }
  // QEMU looks for the subchannel set in a table of four, without asking
  if (sch.ssid > SSID_MAX) {
    reportError(
      report,
      'ssid',
      'transport.sch.ssid',
      `subchannel set ${sch.ssid}, at most ${SSID_MAX} allowed`,
      { ssid: sch.ssid, limit: SSID_MAX },
    );
  }
  if (thinintIsc > ISC_MAX) {
    reportError(
      report,
      'isc',
      'transport.thinintIsc',
      `interruption subclass ${thinintIsc}, at most ${ISC_MAX} allowed`,
      { isc: thinintIsc, limit: ISC_MAX },
    );
  }
  if (revision < -1 || revision > 2) {
    reportError(report, 'revision', 'transport.revision', `revision ${revision}, -1 to 2 known`, {
      revision,
    });
  }
  checkVector(configVector, 'transport.configVector', report);
  for (const [index, queue] of state.queues.entries())
    checkVector(queue.transport.vector, `queues[${index}].transport.vector`, report);
  checkIndicators(state.transport, report);
}

/** Checks a vector: QEMU loads any, and trips over an assertion at the next notification. */
function checkVector(vector: number, path: string, report: Report): void {
  if (vector <= CONFIG_VECTOR || vector === NO_VECTOR) return;
  reportError(report, 'vector', path, `vector ${vector}, 0 to ${CONFIG_VECTOR} or ${NO_VECTOR} expected`, {
    vector,
    limit: CONFIG_VECTOR,
  });
}

function checkIndicators(config: CcwConfigState, report: Report): void {
  for (const key of ['indicators', 'indicators2', 'summaryIndicator'] as const) {
    const { len, addr } = config[key];
    if (len === 0 && addr !== 0n) {
      reportError(
        report,
        'indicator',
        `transport.${key}.len`,
        `length 0 with address 0x${addr.toString(16)}`,
        { len, addr },
      );
    }
  }
  // QEMU loads it, and dies at the first notification
  if (config.sch.thinintActive && config.indicators.len !== 0 && config.summaryIndicator.len === 0) {
    reportError(
      report,
      'indicator',
      'transport.summaryIndicator.len',
      'adapter interrupts with queue indicators and without a summary indicator',
      { len: 0 },
    );
  }
}
