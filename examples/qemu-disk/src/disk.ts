import { createReadStream, createWriteStream, existsSync, renameSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { DeviceEvent } from '@virtkit/core';
import { BlkDevice } from '@virtkit/device-blk';
import { httpDisk } from '@virtkit/device-blk/http';
import { overlayDisk } from '@virtkit/device-blk/overlay';
import { serveVhostUser } from '@virtkit/vhost-user';

/** A disk that is served. */
export interface ServedDisk {
  /** Bytes that the guest has written, and that stand in the overlay. */
  written(): number;
  /** Sends the guest's QEMU away, and keeps what the guest has written for the next time. */
  close(): Promise<void>;
}

/** Where a disk comes from and where it is found. */
export interface DiskPlaces {
  /** Image on a web server that gives ranges of it. */
  readonly url: string;
  /** File for what the guest writes. It need not exist. */
  readonly overlay: string;
  /** UNIX socket for QEMU. */
  readonly socket: string;
  readonly onEvent?: (event: DeviceEvent) => void;
}

/** Serves an image on a web server as a disk that can be written. Nothing of the image is fetched but what the guest reads. */
export async function serveImage({ url, overlay, socket, onEvent }: DiskPlaces): Promise<ServedDisk> {
  const disk = overlayDisk(await httpDisk(url));
  if (existsSync(overlay)) await disk.load(createReadStream(overlay));
  const server = serveVhostUser(new BlkDevice({ backend: disk }), {
    path: socket,
    ...(onEvent !== undefined && { onEvent }),
  });
  return {
    written: () => disk.bytes,
    async close() {
      server.close();
      await server.device.idle();
      // a file that is whole, or the one before
      await pipeline(Readable.from(disk.export()), createWriteStream(`${overlay}.part`));
      renameSync(`${overlay}.part`, overlay);
    },
  };
}
