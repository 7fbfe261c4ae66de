/**
 * The device types alone, for programs that read streams and load what judges them when it is asked for.
 * @packageDocumentation
 */
import type { DeviceType } from '@virtkit/core/qemu';
import { blkType } from '@virtkit/device-blk/type';
import { consoleType } from '@virtkit/device-console/type';
import { netType } from '@virtkit/device-net/type';
import { rngType } from '@virtkit/device-rng/type';
import { otherTypes } from '@virtkit/device-states/types';

/**
 * All device types that virtkit knows. A new one needs its place in this list, and nothing else in this package, in `@virtkit/visit` or
 * in `@virtkit/cli`.
 */
export const deviceTypes: readonly DeviceType[] = [netType, blkType, rngType, consoleType, ...otherTypes];
