// The manifests for a cluster, against Kubernetes' own schemas; and that they allow nothing but reading.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Job } from 'kubernetes-models/batch/v1';
import { ClusterRole, ClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1';
import { Namespace, ServiceAccount } from 'kubernetes-models/v1';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';

const folder = new URL('../deploy/kubevirt/', import.meta.url);

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: unknown;
}

function manifests(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(new URL(file, folder), 'utf8')).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });
}

/** Throws, with the places, where a manifest is not as Kubernetes' schema of its kind says. */
function validate(manifest: Manifest): void {
  // the models' constructors take objects of their own types; what is in a file is looked at by validate
  const data = manifest as never;
  switch (`${manifest.apiVersion}/${manifest.kind}`) {
    case 'v1/Namespace':
      new Namespace(data).validate();
      break;
    case 'v1/ServiceAccount':
      new ServiceAccount(data).validate();
      break;
    case 'rbac.authorization.k8s.io/v1/ClusterRole':
      new ClusterRole(data).validate();
      break;
    case 'rbac.authorization.k8s.io/v1/ClusterRoleBinding':
      new ClusterRoleBinding(data).validate();
      break;
    case 'batch/v1/Job':
      new Job(data).validate();
      break;
    default:
      throw new Error(`${manifest.apiVersion} ${manifest.kind}: no schema of it here`);
  }
}

/** Every property that a type of these kinds has: the schemas let others pass, as the server does, which leaves them away. */
const PROPERTIES = new Set(
  ['v1', 'batch/v1', 'rbac.authorization.k8s.io/v1'].flatMap((group) => {
    const types = fileURLToPath(new URL(`../node_modules/kubernetes-models/${group}/`, import.meta.url));
    return readdirSync(types)
      .filter((name) => name.endsWith('.d.ts'))
      .flatMap((name) => [...readFileSync(join(types, name), 'utf8').matchAll(/^\s*"?(\w+)"?\??:/gm)])
      .map(([, property = '']) => property);
  }),
);
/** Keys below these are the user's own. */
const FREE = new Set(['labels', 'metadata', 'requests', 'limits']);

function unknownKeys(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(unknownKeys);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => [
    ...(PROPERTIES.has(key) ? [] : [key]),
    ...(FREE.has(key) ? [] : unknownKeys(each)),
  ]);
}

const all = ['rbac.yaml', 'job.yaml'].flatMap(manifests);

describe('the manifests', () => {
  test.each(all.map((manifest) => [manifest.kind, manifest] as const))(
    '%s is as its schema says',
    (_kind, manifest) => {
      expect(() => validate(manifest)).not.toThrow();
      expect(unknownKeys(manifest)).toEqual([]);
    },
  );

  test('the validator sees what is wrong', () => {
    const job = all.find(({ kind }) => kind === 'Job');
    if (job === undefined) throw new Error('no Job');
    expect(() =>
      validate({ ...job, spec: { template: { spec: { containers: [{ image: 'x' }] } } } }),
    ).toThrow(/name/);
    expect(() => validate({ ...job, spec: { backoffLimit: 'none' } })).toThrow(/template|backoffLimit/);
    expect(unknownKeys({ ...job, spec: { template: {}, backofLimit: 3 } })).toEqual(['backofLimit']);
  });

  test('the role may read, and nothing else', () => {
    const role = new ClusterRole(all.find(({ kind }) => kind === 'ClusterRole') as never);
    expect(role.rules?.flatMap(({ verbs }) => verbs).every((verb) => /^(get|list)$/.test(verb))).toBe(true);
    expect(role.rules?.flatMap(({ resources }) => resources)).toEqual([
      'virtualmachineinstances',
      'pods',
      'nodes',
    ]);
  });

  test('the Job runs as nobody, in the account that the role is bound to, and uses no more than that allows', () => {
    const { spec } = new Job(all.find(({ kind }) => kind === 'Job') as never);
    const pod = spec?.template.spec;
    const [container] = pod?.containers ?? [];
    expect(pod?.serviceAccountName).toBe('virtkit-check');
    expect(container?.args).toContain('--no-exec');
    expect(container?.securityContext).toMatchObject({
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
    });
    const containerfile = readFileSync(new URL('Containerfile', folder), 'utf8');
    expect(containerfile).toMatch(/^USER 65534/m);
    expect(containerfile).toMatch(/^ENTRYPOINT \["virtkit"\]$/m);
  });
});
