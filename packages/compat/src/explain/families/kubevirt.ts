import type { Family } from '../family.ts';

/** Messages of KubeVirt: conditions, events and logs. */
export const kubevirtFamilies: readonly Family[] = [
  {
    code: 'kubevirt-stuck',
    pattern:
      /[Ll]ive migration stuck for (?<seconds>\d+) sec|Aborting migration: stuck for (?<seconds2>\d+)|has been aborted.{0,20}progress/,
    meaning:
      'No memory was copied any more for {seconds}{seconds2} seconds, and KubeVirt cancelled the migration (progressTimeout).',
    advice: [
      'See why nothing moves: the migration network between the two nodes, and the bandwidth limit (bandwidthPerMigration); raise progressTimeout in the KubeVirt CR or a MigrationPolicy if the network is only slow.',
    ],
  },
  {
    code: 'kubevirt-timeout',
    pattern:
      /[Ll]ive migration is not completed after (?<seconds>\d+) sec|Aborting migration: not completed after (?<seconds2>\d+)|aborting migration due to completion timeout/,
    meaning:
      'The guest writes its memory faster than it is copied: after {seconds}{seconds2} seconds KubeVirt cancelled the migration (completionTimeoutPerGiB).',
    advice: [
      'Let it converge: allowAutoConverge or allowPostCopy, more bandwidth (bandwidthPerMigration, a migration network of its own), or a larger completionTimeoutPerGiB, by a MigrationPolicy for this VM.',
    ],
  },
  {
    code: 'kubevirt-cpu-node',
    pattern:
      /no node is suitable to run the required CPU model|NoSuitableNodesForHostModelMigration|unable to locate host cpu model|cannot get nodes to migrate VMI with host-model/,
    meaning:
      'No other node has the CPU model that the VM was started with (host-model takes that of its first node).',
    advice: [
      'Set spec.domain.cpu.model to a named model that all nodes have (kubectl get nodes -L cpu-model.node.kubevirt.io), and restart the VM once.',
    ],
  },
  {
    code: 'kubevirt-unschedulable',
    pattern:
      /target pod for VMI \[[^\]]+\] is currently unschedulable|unschedulable pod \S+ timeout|pending pod \S+ timeout|FailedScheduling|\d+\/\d+ nodes are available: (?<why>.+)|reached pending pod timeout/,
    meaning: 'The target pod found no node ({why}).',
    advice: [
      'kubectl describe pod virt-launcher-… (the pending one) says what is missing: memory, CPU, huge pages, devices, node selectors, taints, or the limits of parallel migrations.',
    ],
  },
  {
    code: 'kubevirt-condition',
    pattern:
      /(?<reason>DisksNotLiveMigratable|InterfaceNotLiveMigratable|HotplugNotLiveMigratable|HostDeviceNotLiveMigratable|SEVNotLiveMigratable|SecureExecutionNotLiveMigratable|HypervPassthroughNotLiveMigratable|VirtIOFSNotLiveMigratable|RealtimeNotLiveMigratable|CPUModeLiveMigratable|NotMigratable)|[Cc]annot migrate VMI(?: which does not use (?<interface>masquerade[^"]*)|: (?<why>[^"]+)| with (?<with>[^"]+))/,
    meaning: 'KubeVirt holds the VM for not movable: {reason}{interface}{why}{with}.',
    advice: [
      'kubectl get vmi NAME -o yaml, condition LiveMigratable, says which disk, interface or device: disks need ReadWriteMany claims, the pod network masquerade (or the annotation for bridge), host devices are to be taken out.',
    ],
  },
  {
    code: 'kubevirt-target',
    role: 'consequence',
    pattern:
      /target (?:attachment )?pod (?:\S+ )?(?:shutdown|disappeared|is down|was removed|not found)|[Tt]arget pod is down|target pod (?:shutdown|disappearing)|source node reported migration failed|reported migration failed|domain was never observed on the tar?get|migrated to (?:an )?unknown host|domain is not active on target|syncing migration target failed: (?<error>.+)|migration failed, completed|Failed to (?:sync|signal|update target)|failed to (?:adjust resources|configure vmi network|mount hotplug|handle (?:post sync )?migration proxy)[^:]*: (?<error2>.+)/,
    meaning: 'The target pod ended while the VM was being moved ({error}{error2}). Why is in its log.',
    advice: [
      "kubectl logs of the target's virt-launcher pod, container compute (with --previous, or from the log store: the pod is gone): its lines of qemu-kvm have the reason. Paste them here.",
    ],
  },
  {
    code: 'kubevirt-failed',
    role: 'consequence',
    pattern:
      /VirtualMachineInstance migration uid (?<uid>\S+) failed\. ?reason: ?(?<why>.*)|[Ll]ive migration failed(?<why2>.*)|error encountered during MigrateToURI3(?<why3>.*)|[Ff]ailed to migrate vmi|error encountered (?:during preparing domain|while generating migration parameters)|[Uu]nable to migrate vmi because|migration job \S+ already executed|failed to start post(?:-| ?)(?:copy )?migration|aborting migration: |migration monitor failed|failed to cancel migration|abort timed out|[Mm]igration failed (?:because|due|vmi)(?<why4>.*)|migration job already executed|[Mm]igration (?:target )?pod was removed|failed to (?:create|render|start) .{0,30}(?:target|migration)[^:]*: (?<why5>.+)/,
    meaning: 'KubeVirt only says that the migration failed: {why}{why2}{why3}{why4}{why5}.',
    advice: [
      "Look into the log of the target's virt-launcher pod, container compute: its lines of qemu-kvm have the reason (kubectl logs, or the log store: the pod is gone). Paste them here.",
    ],
  },
  {
    code: 'kubevirt-busy',
    role: 'consequence',
    pattern:
      /another migration job is (?:in progress|running)|Waiting to schedule target pod|migration backoff|backoff migrating|abort already|cannot migrate VMI until|utility volumes|[Mm]igration is waiting|migrationState is ready|taken over by another migration|migration state (?:was )?cleared|because another job is in progress|more than one KubeVirt|More than one KubeVirt|Signaled migration/,
    meaning:
      'KubeVirt waits: another migration, a back-up or an attached volume of this VM is not done, or it waits after a failure before it tries again.',
    advice: [
      'kubectl get vmim shows what is going on; look at the failure before it, this line is not the reason.',
    ],
  },
  {
    code: 'kubevirt-proxy',
    role: 'consequence',
    pattern:
      /unable to create outbound leg of proxy|proxy unix socket listener returned error|error encountered copying data|migration connections during virt-handler shutdown|waiting for target (?:node )?to publish migration ports|unix socket for proxy|ownership on migration|migration sockets directory/,
    meaning:
      'The connection between the virt-handlers of the two nodes, through which the VM is moved, broke or was not made.',
    advice: [
      'Check that port 49152 to 49215 of the nodes (or the migration network) is open between virt-handlers and their certificates are valid; the QEMU log of the target pod says whether it ended first.',
    ],
  },
  {
    code: 'kubevirt-resources',
    pattern:
      /exceeds the (?:launcher memory request|limit)|needs a privileged namespace|exceeded quota|Volume migration cannot be performed|destination volume is smaller|Could not find (?:dedicated CPU limit|memory request|VMI compute)|SELinux context|passt-repair/,
    meaning: 'The target pod cannot be made as the VM needs it: resources, quota, volumes or rights.',
    advice: [
      "Correct what the line names: requests and limits, ResourceQuota, the size of the new volume, the namespace's pod security level.",
    ],
  },
];
