// All machines of a folder, a libvirt, a cluster, a node, against a target.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkFleet, type VmResult } from '../src/fleet/check-fleet.ts';
import { folderVms } from '../src/fleet/folder.ts';
import type { Vm } from '../src/fleet/vm.ts';
import { useCommand } from './command.ts';
import { domainXml, writeFleet } from './fleet-of.ts';
import { violations } from './schema.ts';

const { virtkit, home } = useCommand();

/** A folder with a simulated fleet. */
function fleet(count: number): string {
  const folder = join(home(), `fleet-${count}`);
  writeFleet(folder, count);
  return folder;
}

const TARGET = ['--target', 'kubevirt-1.7', '--host-kernel', '6.8'];

describe('a folder', () => {
  test('the summary names the causes, those who have them, and what helps most', () => {
    const { status, stdout } = virtkit(['check', '--all', fleet(20), ...TARGET]);
    expect(stdout.split('\n').slice(0, -1)).toEqual([
      '20 machines against kubevirt-1.7: 12 move, 8 are refused, of 0 it is not known',
      'refused: 4 machines: VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_USO are negotiated, and the target does not offer it',
      '  vm-0003, vm-0008, vm-0013, vm-0018',
      expect.stringMatching(
        /^ {2}What to do: stop and start the machine with guest_uso4, guest_uso6, host_uso off/,
      ),
      expect.stringMatching(/^refused: 4 machines: kubevirt-1\.7 has no machine type pc-q35-9\.1/),
      '  vm-0004, vm-0009, vm-0014, vm-0019',
      expect.stringMatching(/^ {2}What to do: run the source with a machine type that both have/),
      expect.stringMatching(/^4 of 8 that do not move for certain would by one change: /),
    ]);
    expect(status).toBe(1);
  });

  test('JSON: a line for each machine, and the summary for people beside it', () => {
    const { status, stdout, stderr } = virtkit(['check', '--all', fleet(20), ...TARGET, '--json']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as VmResult & { readonly format: number });
    expect(lines.length).toBe(20);
    for (const line of lines) expect(violations('check-all', line)).toEqual([]);
    expect(lines.map(({ vm }) => vm).sort()[19]).toBe('vm-0019');
    const one = lines.find(({ vm }) => vm === 'vm-0003');
    expect(one).toMatchObject({ format: 1, answer: 'refused', machine: 'pc-q35-rhel9.6.0' });
    expect(one?.verdicts.map(({ property }) => property)).toEqual(['guest_uso4', 'guest_uso6', 'host_uso']);
    expect(stderr).toMatch(/^20 machines against/);
    expect(status).toBe(1);
  });

  test('Prometheus: each line is a comment or a sample with its labels', () => {
    const folder = fleet(20);
    writeFileSync(join(folder, 'odd "name"\\x.xml'), domainXml('odd', 'pc-q35-rhel9.6.0', 1));
    // what a terminal must not get is `\u001b` on standard output, which this format does not know
    for (const name of ['\x1b[2J', 'tab\there', 'zero\u200bwidth', 'line\nbreak', '\u202eturned'])
      writeFileSync(join(folder, `${name}.xml`), 'no XML');
    const { stdout } = virtkit(['check', '--all', folder, ...TARGET, '--format', 'prometheus']);
    const sample = /^[a-z_]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\} \d+$/;
    for (const line of stdout.trim().split('\n'))
      expect(line).toMatch(/^#/.test(line) ? /^# (HELP|TYPE) [a-z_]+ / : sample);
    expect(stdout).toContain('virtkit_check_machines{target="kubevirt-1.7",answer="refused"} 8\n');
    expect(stdout).toContain('properties="guest_uso4, guest_uso6, host_uso"');
    expect(stdout).toContain('machine="odd \\"name\\"\\\\x"');
  });

  test('JUnit: well-formed, with a case for each machine', async () => {
    const { parseXml } = await import('../../libvirt/src/xml.ts');
    const { stdout } = virtkit(['check', '--all', fleet(10), ...TARGET, '--format', 'junit']);
    const suite = parseXml(stdout);
    expect(suite.name).toBe('testsuite');
    expect([
      suite.attributes.get('tests'),
      suite.attributes.get('failures'),
      suite.attributes.get('errors'),
    ]).toEqual(['10', '4', '0']);
    const failed = suite.children.filter(({ children }) => children.some(({ name }) => name === 'failure'));
    expect(failed.map(({ attributes }) => attributes.get('name'))).toEqual([
      'vm-0003',
      'vm-0004',
      'vm-0008',
      'vm-0009',
    ]);
  });

  test('where it is not known what guests use, the answer is not known, and so is the exit code', () => {
    const folder = join(home(), 'without-features');
    mkdirSync(folder);
    writeFileSync(join(folder, 'one.xml'), domainXml('one', 'pc-q35-rhel9.6.0', 1));
    const at = (target: string, kernel: string): (number | null)[] => [
      virtkit(['check', '--all', folder, '--target', target, '--host-kernel', kernel]).status,
    ];
    // off in this package; a kernel that has it not; both have it
    expect([at('kubevirt-1.7', '6.8'), at('kubevirt-1.6', '5.14'), at('kubevirt-1.6', '6.8')]).toEqual([
      [4],
      [4],
      [0],
    ]);
  });

  test("Proxmox' configurations and KubeVirt's objects say machine and cards; what they do not say is no yes", () => {
    const folder = join(home(), 'outlines');
    mkdirSync(folder);
    const object = (machine: string, interfaces: string): string =>
      `kind: VirtualMachineInstance\nspec: { domain: { devices: { interfaces: [${interfaces}] } } }\nstatus: { machine: { type: ${machine} } }\n`;
    const files = {
      'card.yaml': object('pc-q35-rhel9.6.0', '{ name: default, masquerade: {} }'),
      'e1000.yml': object('pc-q35-rhel9.6.0', '{ name: default, model: e1000e }'),
      'other.yaml': object('pc-q35-9.1', ''),
      'none.yaml': 'kind: VirtualMachineInstance\nspec: { domain: {} }\n',
      '100.conf': 'memory: 2048\nmachine: pc-q35-9.1\nnet0: virtio=BC:24:11:00:00:01,bridge=vmbr0\n',
      '101.conf': '/usr/bin/kvm -id 101 -machine pc-q35-rhel9.6.0 -nodefaults',
      '102.conf': 'memory: 2048\nmachine: pc-q35-rhel9.6.0\n',
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const { stdout } = virtkit(['check', '--all', folder, ...TARGET, '--json']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as VmResult);
    expect(Object.fromEntries(lines.map(({ vm, answer }) => [vm, answer]))).toEqual({
      // a card on a tap may have the features that the target does not offer
      card: 'unknown',
      e1000: 'loads',
      other: 'refused',
      none: 'unknown',
      100: 'refused',
      101: 'loads',
      102: 'unknown',
    });
    const card = lines.find(({ vm }) => vm === 'card');
    expect(card?.verdicts.some(({ property }) => property === 'guest_uso4')).toBe(true);
  });

  test('a machine that cannot be read is one line, and does not hide the others', () => {
    const folder = fleet(5);
    writeFileSync(join(folder, 'broken.xml'), '<domain><devices>');
    writeFileSync(join(folder, 'huge.xml'), ' '.repeat(2 ** 20 + 1));
    writeFileSync(join(folder, 'other.args'), 'qemu-system-x86_64 -M pc-q35-rhel9.6.0 -nodefaults');
    writeFileSync(join(folder, 'other.features.json'), '{"net0": 5}');
    // nobody ever writes into it
    expect(spawnSync('mkfifo', [join(folder, 'pipe.xml')]).status).toBe(0);
    mkdirSync(join(folder, 'folder.xml'));
    const { stdout, status } = virtkit(['check', '--all', folder, ...TARGET, '--json']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as VmResult);
    expect(lines.length).toBe(10);
    const unread = lines.filter(({ verdicts }) => verdicts.some(({ code }) => code === 'not-read'));
    expect(unread.map(({ vm }) => vm).sort()).toEqual(['broken', 'folder', 'huge', 'other', 'pipe']);
    expect(status).toBe(1);
  });

  test.each([
    [['--all', '/nowhere'], 'no such file or directory'],
    [['--all', 'packages'], 'no file in it ends with .xml, .args, .conf, .yaml, or .yml'],
    [['--all'], '--all needs one of'],
    [['--all', '.', '--kubevirt'], '--all needs one of'],
    [['--all', '.', '--jobs', '0'], '--jobs 0: a number from 1 to 64'],
    [['--all', '.', '--jobs', '65'], '--jobs 65: a number from 1 to 64'],
    [['--all', '.', '--format', 'yaml'], 'Allowed choices are text, json'],
  ])('%j: usage', (args, message) => {
    const { status, stderr } = virtkit(['check', ...args, '--target', 'kubevirt-1.7']);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
  });

  test('a target that is not known is said once', () => {
    const { status, stderr, stdout } = virtkit(['check', '--all', fleet(5), '--target', 'kubevirt-99']);
    expect(stderr.trim().split('\n').length).toBe(1);
    expect([stdout, status]).toEqual(['', 2]);
  });
});

describe('the work of a fleet', () => {
  test('so many are under way as are asked for, each is described once, and nothing is kept of it', async () => {
    let [underWay, most] = [0, 0];
    const described: string[] = [];
    const vms = Array.from(
      { length: 500 },
      (_, index): Vm => ({
        name: `vm-${index}`,
        source: 'here',
        describe: async () => {
          described.push(`vm-${index}`);
          most = Math.max(most, ++underWay);
          await new Promise((resolve) => setImmediate(resolve));
          underWay--;
          return { description: 'qemu-system-x86_64 -M pc-q35-rhel9.6.0 -nodefaults' };
        },
      }),
    );
    const answers: string[] = [];
    await checkFleet(vms, { target: 'kubevirt-1.7' }, 8, ({ answer }) => {
      answers.push(answer);
    });
    expect(most).toBe(8);
    expect(new Set(described).size).toBe(500);
    expect(described.length).toBe(500);
    expect(answers).toEqual(Array.from({ length: 500 }, () => 'loads'));
  });

  test('files are read when their machine’s turn comes', () => {
    const folder = fleet(5);
    const vms = folderVms(folder);
    // the list is made of names alone: what is behind them may still change
    writeFileSync(join(folder, 'vm-0000.xml'), 'no XML');
    return expect(vms[0]?.describe()).rejects.toThrow('XML');
  });
});

/** Programs that stand for kubectl, pvesh and qm, for which there is no cluster and no node here: recorded answers, and a list of what they were asked. */
describe('connections', () => {
  let path = '';
  beforeAll(() => {
    path = join(home(), 'bin');
    mkdirSync(path);
    for (const [name, text] of Object.entries(PROGRAMS)) {
      writeFileSync(join(path, name), `#!/bin/sh\necho "$(basename "$0") $*" >> "$ASKED"\n${text}`);
      chmodSync(join(path, name), 0o755);
    }
    writeFileSync(join(path, 'one.xml'), domainXml('one', 'pc-q35-rhel9.6.0', 1));
  });

  const env = (): Record<string, string> => ({
    PATH: `${path}:${process.env['PATH'] ?? ''}`,
    ASKED: join(home(), 'asked'),
    XML: join(path, 'one.xml'),
  });

  const PROGRAMS: Readonly<Record<string, string>> = {
    kubectl: `case "$*" in
*virtualmachineinstances*) echo '{"items":[{"metadata":{"name":"one","namespace":"a","uid":"u1"},"spec":{"domain":{"devices":{"interfaces":[{"name":"default","masquerade":{}}]}}},"status":{"machine":{"type":"pc-q35-rhel9.6.0"}}},{"metadata":{"name":"two","namespace":"b","uid":"u2"}}]}' ;;
*"get nodes"*) echo '{"items":[{"status":{"nodeInfo":{"kernelVersion":"6.12.0-55.el10.x86_64"}}},{"status":{"nodeInfo":{"kernelVersion":"5.14.0-570.el9.x86_64"}}}]}' ;;
*"get pods"*) echo '{"items":[{"metadata":{"name":"virt-launcher-one","labels":{"kubevirt.io/created-by":"u1"}},"status":{"phase":"Running"}}]}' ;;
*"exec --namespace a virt-launcher-one --container compute -- virsh dumpxml 1") cat "$XML" ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`,
    pvesh: `echo '[{"vmid":100,"name":"web"},{"vmid":101}]'\n`,
    qm: `[ "$2" = 100 ] && echo "/usr/bin/kvm -id 100 -machine pc-q35-9.2+pve1 -nodefaults -netdev tap,id=net0,ifname=tap100i0 -device virtio-net-pci,netdev=net0,bus=pcie.0,addr=0x12,id=net0" || { echo 'no such VM' >&2; exit 2; }\n`,
  };

  const lines = (args: readonly string[], target: readonly string[]): Record<string, string> => {
    const { stdout, stderr } = virtkit(['check', '--all', ...args, ...target, '--json'], { env: env() });
    expect(stderr).toContain('machines against');
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as VmResult);
    return Object.fromEntries(
      results.map(({ vm, answer, verdicts }) => [
        vm,
        `${answer}: ${verdicts.map(({ reason }) => reason).join()}`,
      ]),
    );
  };

  test('libvirt, by a real virsh: its test driver has domains of a file', () => {
    if (spawnSync('virsh', ['--version']).error !== undefined) {
      console.warn('SKIPPED: no virsh (Debian: libvirt-clients)');
      return;
    }
    // without a UUID the test driver makes up another one in each virsh
    const domain = (name: string, os: string): string =>
      `<domain type='test'><name>${name}</name><uuid>${randomUUID()}</uuid><memory>1048576</memory><vcpu>1</vcpu><os>${os}</os></domain>`;
    const node = join(home(), 'node.xml');
    writeFileSync(
      node,
      `<node><memory>8192000</memory>
      ${domain('one', "<type arch='x86_64' machine='pc-q35-rhel9.6.0'>hvm</type>")}
      ${domain('two', "<type arch='x86_64' machine='pc-q35-9.1'>hvm</type>")}
      ${domain('three', '<type>xen</type>')}</node>`,
    );
    expect(lines(['--connect', `test://${node}`], ['--target', 'kubevirt-1.7'])).toEqual({
      one: 'loads: ',
      two: expect.stringMatching(/^refused: kubevirt-1\.7 has no machine type pc-q35-9\.1/),
      three: expect.stringMatching(/^unknown: a domain of type xen/),
    });
  });

  test('libvirt, with names that virsh would take for the id or the UUID of another domain', () => {
    if (spawnSync('virsh', ['--version']).error !== undefined) {
      console.warn('SKIPPED: no virsh (Debian: libvirt-clients)');
      return;
    }
    const uuid = (digit: number): string => `${String(digit).repeat(8)}-1111-4111-8111-111111111111`;
    const domain = (name: string, digit: number, machine: string): string =>
      `<domain type='test'><name>${name}</name><uuid>${uuid(digit)}</uuid><memory>1048576</memory><os><type arch='x86_64' machine='${machine}'>hvm</type></os></domain>`;
    const node = join(home(), 'names.xml');
    writeFileSync(
      node,
      `<node>${domain('first', 1, 'pc-q35-rhel9.6.0')}${domain('1', 2, 'pc-q35-9.1')}${domain(uuid(1), 3, 'pc-q35-9.2')}</node>`,
    );
    expect(lines(['--connect', `test://${node}`], ['--target', 'kubevirt-1.7'])).toEqual({
      first: 'loads: ',
      1: expect.stringContaining('pc-q35-9.1'),
      [uuid(1)]: expect.stringContaining('pc-q35-9.2'),
    });
  });

  test('a cluster of KubeVirt: launchers are asked for their domain', () => {
    const found = lines(['--kubevirt'], ['--target', 'kubevirt-1.6', '--host-kernel', '6.8']);
    expect(found).toEqual({ one: 'loads: ', two: 'unknown: it has no launcher pod: it does not run' });
  });

  test('without asking pods: the machine type and the cards of the instance, and the oldest kernel of the nodes', () => {
    writeFileSync(join(home(), 'asked'), '');
    const found = lines(['--kubevirt', '--no-exec'], ['--target', 'kubevirt-1.6']);
    expect(found).toEqual({
      one: expect.stringMatching(/^unknown: VIRTIO_NET_F_GUEST_USO4 may be in use .*does not offer it/),
      two: 'unknown: it does not say which machine type it runs: it does not run',
    });
    // its machine has UDP segmentation off, whatever the nodes run
    expect(
      lines(['--kubevirt', '--no-exec'], ['--target', 'kubevirt-1.8', '--host-kernel', '6.8'])['one'],
    ).toMatch(/^unknown: VIRTIO_NET_F_GUEST_USO4/);
    expect(
      lines(['--kubevirt', '--no-exec'], ['--target', 'kubevirt-1.6', '--host-kernel', '6.8'])['one'],
    ).toBe('loads: ');
    expect(readFileSync(join(home(), 'asked'), 'utf8')).not.toContain('exec');
  });

  test('a node of Proxmox', () => {
    const found = lines(['--proxmox'], ['--target', 'proxmox-9']);
    expect(found).toEqual({
      '100 (web)': 'loads: ',
      '101': expect.stringMatching(/^unknown: qm showcmd: no such VM/),
    });
  });

  test('what is not there is said', () => {
    const { status, stderr } = virtkit(['check', '--all', '--proxmox', '--target', 'proxmox-9'], {
      env: { PATH: '/nowhere' },
    });
    expect(stderr).toContain('pvesh get: there is no such program');
    expect(status).toBe(2);
  });

  test.each([
    ['pvesh', '--proxmox', 'no JSON at all', /JSON/],
    ['pvesh', '--proxmox', '{}', /the answer is no list/],
    ['kubectl', '--kubevirt', 'null', /the answer is no list/],
    ['kubectl', '--kubevirt', '{', /JSON/],
    [
      'virsh',
      '--connect=test:///default',
      'no list',
      /virsh list: a UUID and a name expected, not "no list"/,
    ],
  ])('%s %s: an answer %j is a mistake that is told', (program, option, answer, said) => {
    const folder = mkdtempSync(join(tmpdir(), 'virtkit-fleet-'));
    try {
      writeFileSync(join(folder, program), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
      const { status, stderr } = virtkit(['check', '--all', option, '--target', 'qemu-10.0'], {
        env: { PATH: `${folder}:${process.env['PATH']}` },
      });
      expect(stderr).toMatch(said);
      expect(status).toBe(2);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
