/** Logs as people paste them: the wrapping they come in, several VMs in one, and what bounds the reading of them. */
import { describe, expect, test } from 'vitest';
import { diagnose, explain } from '../src/index.ts';

const QEMU = [
  '2025-12-16T22:06:36.625034Z qemu-kvm: Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef',
  '2025-12-16T22:06:36.625083Z qemu-kvm: Failed to load virtio-net:virtio',
  "2025-12-16T22:06:36.625087Z qemu-kvm: error while loading state for instance 0x0 of device '0000:00:02.0:00.0/virtio-net'",
  '2025-12-16T22:06:36.625500Z qemu-kvm: load of migration failed: Operation not permitted',
];
const CODES = ['features', 'where', 'where', 'failed'];

const each = (wrap: (line: string) => string): string => QEMU.map(wrap).join('\n');
const json = (object: (line: string) => object): string => each((line) => JSON.stringify(object(line)));
const folded = `    failureReason: 'Live migration failed: internal error: QEMU unexpectedly closed the monitor:
      ${QEMU[0]}
      ${QEMU[1]} ${QEMU[2]?.replaceAll("'", "''")}
      ${QEMU[3]}'`;

describe('the same answer whatever the log is wrapped in', () => {
  test.each<readonly [string, string]>([
    ['as QEMU wrote it', QEMU.join('\n')],
    ['with CR LF', QEMU.join('\r\n')],
    ['with literal \\n', QEMU.join('\\n')],
    ['journald, short', each((line) => `Dec 16 22:06:36 node-1 virt[123]: ${line}`)],
    ['journald, short-iso', each((line) => `2025-12-16T22:06:36+0000 node-1 QEMU[4711]: ${line.slice(28)}`)],
    ['journald, json', json((line) => ({ MESSAGE: line, _HOSTNAME: 'node-1', PRIORITY: '6' }))],
    ['journald, json of bytes', json((line) => ({ MESSAGE: [...Buffer.from(line)], _PID: '12' }))],
    [
      'KubeVirt',
      json((line) => ({ component: 'virt-launcher-monitor', level: 'info', msg: line, pos: 'a.go:393' })),
    ],
    [
      'kubectl logs --prefix',
      each((line) => `[pod/virt-launcher-vm1-x7k2p/compute] ${JSON.stringify({ level: 'info', msg: line })}`),
    ],
    [
      'a container runtime',
      json((line) => ({ log: `${line}\n`, stream: 'stderr', time: '2025-12-16T22:06:36Z' })),
    ],
    ['JSON in JSON', json((line) => ({ log: JSON.stringify({ msg: line }), stream: 'stderr' }))],
    ['logfmt', each((line) => `time="2025-12-16T22:06:36Z" level=error msg="${line}"`)],
    ['syslog', each((line) => `<30>1 2025-12-16T22:06:36Z node-1 libvirtd 812 - - ${line}`)],
    ['colours', each((line) => `\x1b[31m${line}\x1b[0m`)],
    ['HTML entities', each((line) => line.replaceAll("'", '&#39;'))],
    ['typographic quotes', each((line) => line.replace(/'(.*)'/, '‘$1’'))],
    ['a quotation', each((line) => `> ${line}`)],
    ['grep over files', each((line) => `/var/log/libvirt/qemu/vm1.log:${line}`)],
    [
      'libvirt, all in one line',
      `error: internal error: QEMU unexpectedly closed the monitor (vm='vm1'): ${QEMU.join(' ')}`,
    ],
    ['folded YAML', `status:\n  migrationState:\n${folded}\n    completed: true`],
    [
      'kubectl describe',
      `Events:\n  Type     Reason    Age  From          Message\n  Warning  Migrated  11s (x3 over 13s)  virt-handler, node-1  reason: ${QEMU.join(' ')}`,
    ],
    [
      'kubectl get events -o json',
      JSON.stringify(
        {
          items: [
            { involvedObject: { kind: 'VirtualMachineInstance', name: 'vm1' }, message: QEMU.join('\n') },
          ],
        },
        null,
        2,
      ),
    ],
  ])('%s', (_name, log) => {
    const [answer] = diagnose(log);
    expect(answer).toMatchObject({ certainty: 'cause', from: { code: 'features' } });
    expect(answer?.from?.facts['device']).toBe('virtio-net');
    expect(
      explain(log)
        .map(({ code }) => code)
        .filter((code) => CODES.includes(code)),
    ).toEqual(CODES);
  });
});

describe('several VMs in one log', () => {
  const FOOTER = 'qemu-kvm: Missing section footer for 0000:00:01.3/piix4_pm';
  const vmsOf = (log: string): unknown => diagnose(log).map(({ vms, from }) => [vms, from?.code]);

  test('by the objects of a cluster', () => {
    const line = (name: string, msg: string): string => JSON.stringify({ kind: 'Domain', name, msg });
    const log = [
      line('a', `${QEMU[0]}`),
      line('b', FOOTER),
      line('c', `${QEMU[0]}`),
      line('a', `${QEMU[1]}`),
    ];
    expect(vmsOf(log.join('\n'))).toEqual([
      [['a', 'c'], 'features'],
      [['b'], 'footer'],
    ]);
  });

  test('by the headings of files', () => {
    const log = `==> /var/log/libvirt/qemu/a.log <==\n${QEMU.join('\n')}\n\n==> /var/log/libvirt/qemu/b.log <==\n${FOOTER}\n`;
    expect(vmsOf(log)).toEqual([
      [['a'], 'features'],
      [['b'], 'footer'],
    ]);
  });

  test('by the events of a cluster', () => {
    const row = (vm: string, what: string): string =>
      `12s  Warning  Migrated  virtualmachineinstance/${vm}  VirtualMachineInstance migration uid 1 failed. reason: ${what}`;
    expect(vmsOf([row('a', FOOTER), row('b', `${QEMU[0]}`)].join('\n'))).toEqual([
      [['a'], 'footer'],
      [['b'], 'features'],
    ]);
  });

  test('by their numbers at Proxmox', () => {
    const log = `VM 100 qmp command 'migrate' failed - State blocked by non-migratable device 'x'\nVM 101 qmp command 'cont' failed - got timeout`;
    expect(vmsOf(log)).toEqual([
      [['100'], 'blocked'],
      [['101'], 'proxmox-failed'],
    ]);
  });
});

describe('the one cause', () => {
  test('is that of the last start', () => {
    const start = '2026-01-01 10:00:00.000+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4';
    const log = [
      start,
      'qemu-system-x86_64: Missing section footer for 0000:00:02.0/virtio-blk',
      'qemu-system-x86_64: load of migration failed: Invalid argument',
      start,
      'qemu-system-x86_64: VQ 0 vring.num 1024 exceeds allocated max 256',
      'qemu-system-x86_64: load of migration failed: Operation not permitted',
    ];
    expect(diagnose(log.join('\n'))[0]?.from?.code).toBe('ring-size');
  });

  test('comes before what only says that it failed', () => {
    const log = [
      "error: operation failed: job 'migration out' unexpectedly failed",
      'qemu-system-x86_64: Unable to write to socket: Broken pipe',
      'qemu-system-x86_64: Missing section footer for 0000:00:02.0/virtio-blk',
    ];
    const [answer] = diagnose(log.join('\n'));
    expect(answer).toMatchObject({ certainty: 'cause', from: { code: 'footer' } });
    expect(answer?.others.length).toBe(2);
  });

  test('is not in a log that only says that it failed, and the cure is where to look', () => {
    const [answer] = diagnose("error: operation failed: job 'migration out' unexpectedly failed");
    expect(answer?.certainty).toBe('consequence');
    expect(answer?.cause).toMatch(/^Not in this log\./);
    expect(answer?.cure).toContain('/var/log/libvirt/qemu/');
  });

  test('is not in a log that only says where: what can be said of that device is', () => {
    const [answer] = diagnose(
      "qemu-kvm: error while loading state for instance 0x0 of device '0000:00:03.0/tpm'",
    );
    expect(answer).toMatchObject({ certainty: 'consequence' });
    expect(answer?.cause).toContain('refused the state of "0000:00:03.0/tpm". Why is not in this log.');
    const told = diagnose(
      "qemu-kvm: tpm: no moon\nqemu-kvm: error while loading state for instance 0x0 of device 'a/tpm'",
    );
    expect(told[0]?.cause).toContain('which virtkit does not know: "tpm: no moon"');
  });

  test('is not in a log that only says that the load failed', () => {
    const [answer] = diagnose('qemu-system-x86_64: load of migration failed: Invalid argument');
    expect(answer?.certainty).toBe('none');
    expect(answer?.cause).toMatch(/^Not in this log/);
  });

  test('messages of QEMU that are not known are told, and no others', () => {
    const log =
      'qemu-kvm: VQ 0 vring.num 1024 exceeds allocated max 256\nqemu-kvm: the moon is full\nsome program: hello';
    expect(diagnose(log)[0]?.unknown).toEqual(['the moon is full']);
    expect(diagnose('hello\n')).toEqual([]);
  });
});

describe('what is read of a log is bounded', () => {
  const FULL = 'VQ 0 vring.num 1024 exceeds allocated max 256';

  test('a line is searched for what it is wrapped in up to 64 KiB', () => {
    expect(explain(`${' '.repeat(65_000)}qemu-kvm: ${FULL}`)).toHaveLength(1);
    expect(explain(`${' '.repeat(66_000)}qemu-kvm: ${FULL}`)).toEqual([]);
  });

  test('a text of more than 4 MiB is read line by line, and not as one JSON value', () => {
    const filler = `${' '.repeat(1 << 16)}\n`;
    const value = (fillers: number): string =>
      `[\n${filler.repeat(fillers)}{"involvedObject":\n{"name":\n"vm9"},\n"message":\n"qemu-kvm: ${FULL}"}]`;
    expect(explain(value(1)).map(({ vm }) => vm)).toEqual(['vm9']);
    expect(explain(value(70)).map(({ vm }) => vm)).toEqual([undefined]);
  });

  test('JSON is looked into 12 deep', () => {
    const nested = (depth: number): string => `${'{"a":'.repeat(depth)}{"msg":"${FULL}"}${'}'.repeat(depth)}`;
    expect(explain(nested(12))[0]?.line).toBe(FULL);
    expect(explain(nested(13))[0]?.line).not.toBe(FULL);
  });

  test('a message goes on for 64 lines at most', () => {
    const yaml = (lines: number): string => `message: "a\n${'  b\n'.repeat(lines)}  ${FULL}"`;
    expect(explain(yaml(10))[0]?.line).toMatch(/^a b b/);
    expect(explain(yaml(80))[0]?.line).toBe(`${FULL}"`);
  });

  test('ten messages of a VM that are not known are told', () => {
    const log = Array.from({ length: 30 }, (_, n) => `qemu-kvm: the moon is ${n} days old`).join('\n');
    expect(diagnose(`${log}\nqemu-kvm: ${FULL}`)[0]?.unknown).toHaveLength(10);
  });
});
