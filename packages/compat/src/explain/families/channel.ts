import type { Family } from '../family.ts';

/** Messages about connections, files and TLS: how the stream comes from one side to the other. */
export const channelFamilies: readonly Family[] = [
  {
    code: 'tls',
    pattern:
      /TLS handshake failed|Certificate does not match the hostname|[Nn]o TLS credentials|TLS x509|TLS (?:credentials|channel|connection|certificate)|handshake failed|The certificate (?:hasn't|is not|has)|(?:server|client) certificate|Expected TLS credentials|No hostname available for TLS|is not TLS credentials|[Cc]annot (?:load|initialize|get) cert|tls-?(?:creds|hostname|authz)|unable to read server cert/,
    meaning:
      'The two sides do not agree on TLS: a certificate is missing, expired, not signed by the CA that the other side trusts, or for another host name.',
    advice: [
      'Check the certificates of both hosts (/etc/pki/qemu, /etc/pki/libvirt-migrate: openssl verify -CAfile ca-cert.pem server-cert.pem; subjectAltName has the name or address that is connected to), and switch TLS on or off the same on both.',
    ],
  },
  {
    code: 'ssh',
    pattern:
      /Host key verification failed|Permission denied \((?:publickey|password)[^)]*\)|REMOTE HOST IDENTIFICATION HAS CHANGED|Could not resolve hostname (?<host>\S+)|ssh: connect to host (?<host2>\S+)/,
    meaning:
      'The hosts cannot log into each other by ssh, over which the migration is controlled {host}{host2}. Nothing of the VM was moved; it goes on running at the source.',
    advice: [
      'As the user that runs the migration (root), log in by ssh once from the source to the destination by the very name that is used, and accept or renew the key (ssh-keygen -R NAME; Proxmox: pvecm updatecerts); add the public key to authorized_keys there.',
    ],
  },
  {
    code: 'connect',
    pattern:
      /unable to connect to server at '(?<server>[^']+)': (?<error>.+)|Failed to connect (?:to|socket)[: ]+'?(?<address>[^']+?)'?: (?<error2>.+)|(?:Unable to|Cannot) (?:connect|resolve)[^:]*:? ?(?<name>.*)|Failed to connect to '(?<address2>[^']+)'|[Cc]annot recv data: (?<error3>.+)|No route to host|Connection (?:refused|timed out)|address resolution failed for (?<host>\S+): (?<error4>.+)|Name or service not known|Temporary failure in name resolution/,
    meaning:
      'The source cannot reach the destination ({server}{address}{address2}{name}{host}: {error}{error2}{error3}{error4}). Nothing of the VM was moved; it goes on running at the source.',
    advice: [
      'Open the ports between the hosts (libvirt: 16509, 16514 or ssh, and 49152 to 49215 for the data; Proxmox: 22 and 60000 to 60050), and see that each host resolves the name of the other to an address of the migration network.',
    ],
  },
  {
    code: 'connection-lost',
    role: 'consequence',
    pattern:
      /Unable to (?:write to|read from) (?:socket|fd|command|file|monitor)(?:: (?<error>.+))?|socket_writev_buffer|Connection reset by peer|Broken pipe|Channel error(?:: (?<error2>.+))?|Error on socket|Cannot (?:read from|write to) TLS channel|job '(?<job>[^']+)' failed due to I\/O error|End of file (?:from qemu monitor|while reading data)|Error while processing monitor IO|An IO error has occurred|Lost connection to|connection (?:closed|lost) (?:due|unexpectedly)|client socket is closed|failed to read .{0,40}from .{0,20}socket/,
    meaning:
      'The connection between the two sides broke ({error}{error2}). Mostly the other QEMU has ended because it refused the state: then its log has the reason, not this one.',
    advice: [
      "Look into the log of the other side: /var/log/libvirt/qemu/NAME.log on the destination (KubeVirt: the log of the target's virt-launcher pod; Proxmox: journalctl of the target node), and paste its last lines here.",
      'If nothing is there: look for a network that drops connections, the OOM killer (journalctl -k), or a restarted libvirtd.',
    ],
  },
  {
    code: 'out-of-space',
    pattern: /No space left on device|Disk quota exceeded/,
    meaning: 'A disk is full: where the state, the log or a disk image is written.',
    advice: ['Free space there, or write to another disk.'],
  },
  {
    code: 'rights',
    pattern:
      /(?:[Cc]ould not|[Uu]nable to|[Ff]ailed to|[Cc]annot) .{2,160}(?:Permission denied|Operation not permitted)|avc: +denied|apparmor="DENIED"/,
    meaning: 'A file or device may not be opened by QEMU or libvirt.',
    advice: [
      'Look at owner and mode of the file, and at SELinux or AppArmor (ausearch -m avc; journalctl -k | grep DENIED).',
    ],
  },
  {
    code: 'tls',
    broad: true,
    pattern: /\bTLS\b|tls-/,
    meaning: 'TLS of the migration is not set up in a way that this QEMU can do.',
    advice: [
      'Switch TLS on or off the same on both sides, with credentials of the right endpoint (server at the destination, client at the source).',
    ],
  },
  {
    code: 'multifd',
    broad: true,
    pattern: /multifd|[Mm]ultifd/,
    meaning:
      'The channels of multifd do not agree, or broke: number of channels, compression or page size differ, one side has multifd and the other not, or the other side has ended.',
    advice: [
      'Set multifd, multifd-channels and multifd-compression the same on both sides before the migration (libvirt: --parallel, --parallel-connections; it does that itself), or switch multifd off.',
      'If the other side has ended, its log has the reason.',
    ],
  },
  {
    code: 'compression',
    broad: true,
    pattern:
      /xbzrle|XBZRLE|[Dd]ecompress|[Cc]ompress(?:ed|ion|Stream)|[Dd]eflate|[Ii]nflate|zstd|zlib|DStream|CStream|Invalid compressed data length|qatzip|QPL|UADK/,
    meaning:
      'A compressed page cannot be read or written: the two sides compress differently, or the stream is damaged.',
    advice: [
      'Set the same compression on both sides, or none; QEMU 9.1 and later have no compress capability any more (use multifd-compression).',
    ],
  },
  {
    code: 'rdma',
    broad: true,
    pattern: /\b[Rr][Dd][Mm][Aa]\b|rdma_/,
    meaning: 'The RDMA connection of the migration failed.',
    advice: [
      'Migrate over TCP; or check RDMA with the tools of its driver (ibv_devinfo, rping), memory locking (memlock limit), and the same memory on both sides.',
    ],
  },
  {
    code: 'channel-setup',
    broad: true,
    pattern:
      /[Ii]ncoming migration|migration (?:stream|channel|uri|URI|transport)|[Cc]hannel list|'uri' and 'channels'|unknown migration protocol|Migration requires|[Ii]nvalid (?:migration )?(?:URI|uri)|-incoming|file URI|[Uu]nsupported scheme|migrate_incoming|Initial sock address|missing (?:host|scheme) in migration URI|No URI scheme|URI with tcp scheme|zero copy|Zero copy|MSG_ZEROCOPY|direct-io|mapped-ram|Mapped-ram|[Mm]apped-ram|Illegal migration|cpr|CPR|execvp/,
    meaning:
      'The migration was not set up in a way that this QEMU can do: its address, its channels or the state of one side do not fit.',
    advice: [
      'Start the destination with -incoming defer (libvirt does), set the capabilities on both sides, then migrate-incoming and migrate with the same kind of address; a file needs mapped-ram or a plain stream on both sides.',
    ],
  },
  {
    code: 'socket',
    broad: true,
    pattern:
      /[Ss]ocket|SOCKET|peer credentials|notification bounds|convert to a number|error parsing|trailing characters|host not specified|no path specified|IPv[46]|KEEPALIVE|cid '|[Cc]hannel|Requested|[Aa]ddress family|getaddrinfo|getnameinfo|listen|port|fd\b|FD|file descriptor|Unable to (?:open|close|seek|dup|accept|shutdown)/,
    role: 'consequence',
    meaning: 'A connection or file of QEMU failed; the operating system says why in the line.',
    advice: [
      'Look at what the line names: address, port, file; and whether the host has it (ss -ltnp, ls -lZ, ulimit -n).',
    ],
  },
];
