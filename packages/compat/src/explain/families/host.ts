import type { Family } from '../family.ts';

/** Messages about what the hosts are: processor, KVM, clocks, interrupt controllers. */
export const hostFamilies: readonly Family[] = [
  {
    code: 'msr',
    pattern:
      /failed to set MSR (?<msr>0x[0-9a-f]+) to (?<value>0x[0-9a-f]+)|Assertion [`']?ret == cpu->kvm_msr_buf->nmsrs/i,
    meaning:
      "KVM at the destination does not accept a processor register of the guest (MSR {msr}, value {value}): its processor, microcode, kernel or nested virtualization is not the source's.",
    advice: [
      'Migrate to a host with the same processor generation and kernel; or start the VM anew with a named CPU model that all hosts have, without vmx or svm (nested virtualization).',
      'MSRs 0x480 to 0x491 are nested virtualization (vmx): set kvm_intel nested the same on both hosts, or cpu …,vmx=off.',
      'Bring microcode and kernel of both hosts to the same level.',
    ],
  },
  {
    code: 'tsc',
    pattern:
      /TSC frequency mismatch between VM \((?<vm>[\d ]+kHz)\) and host \((?<host>[\d ]+kHz)\)|Requested TSC frequency (?<hz>\d+) Hz is outside tolerance range|[Tt]arget TSC (?:frequency|mode)|Mismatch between user-specified TSC frequency and migrated TSC frequency|'tsc-frequency=' has to be specified/,
    meaning:
      "The guest's time stamp counter runs at {vm}{hz}, the destination's at {host}, and the destination cannot scale it.",
    advice: [
      'Migrate to a host with TSC scaling or the same frequency; or start the VM anew without a fixed TSC (invtsc off, no tsc-frequency, clock tsc).',
    ],
  },
  {
    code: 'kvm-state',
    pattern:
      /[Pp]utting registers after init: (?<error>.+)|Failed to (?:set|put|get) (?<what>(?:special |general purpose |debug |KVM type )?registers|XSAVE|XCRs?|vcpu events|debug ?regs|nested state|(?:TSC deadline |feature control )?MSRs?|FPU|APIC|MP state|Xen state|CPUID[^:]*)|(?:Putting|Restoring) re[gs]isters|kvm_(?:put|set|arch_put)_\w+: (?<call>.+)|kvm_set_user_memory_region: (?<region>.+)|(?:Invalid|Unsupported) nested state size|Nested state size (?<size>\d+)/i,
    meaning:
      'KVM at the destination refuses the state of a virtual processor ({error}{what}{call}{region}{size}): processor, kernel or nested virtualization differ from the source.',
    advice: [
      'Use the same processor generation and kernel on both hosts, or a named CPU model that both have; switch nested virtualization off, or to the same, on both.',
      'journalctl -k of the destination says more.',
    ],
  },
  {
    code: 'kvm-entry',
    pattern:
      /KVM: entry failed, hardware error (?<error>\S+)|KVM internal error\. Suberror: (?<suberror>\d+)|error: kvm run failed (?<run>.+)/,
    meaning:
      'The processor of this host refuses to run the guest with the state that it has (error {error}{suberror}{run}). After a migration that means that the processors differ in what the guest has switched on.',
    advice: [
      'Migrate between hosts of the same processor generation, or with a CPU model that both have; update kernel and microcode of this host.',
    ],
  },
  {
    code: 'nested',
    broad: true,
    pattern:
      /VMX|SVM.*(?:nested|migrat)|[Nn]ested (?:virtualization|VMX|SVM|guest)|kernel doesn't support nested state|nested state|VMX does not support migration/,
    meaning: 'The guest uses nested virtualization, and one of the hosts cannot move its state.',
    advice: [
      'Use kernels from 5.0 (Intel) or 5.8 (AMD) on both hosts, or switch nested virtualization off for the VM (vmx or svm off).',
    ],
  },
  {
    code: 'nested',
    pattern:
      /nested state (?:size|format|when)|(?:save|load) nested state|nested state .{0,40}(?:invalid|too)/,
    meaning:
      'The guest runs guests of its own (nested virtualization), and the kernel of this host cannot take over their state.',
    advice: [
      'Use the same kernel on both hosts, with nested virtualization switched on (kvm_intel or kvm_amd nested=1); or switch it off for the VM (no vmx or svm) and start it anew.',
    ],
  },
  {
    code: 'interrupt-controller',
    broad: true,
    pattern:
      /kernel-irqchip|[Ii]n-kernel (?:irqchip|interrupt controller|PIT|APIC|GIC)|irqchip (?<kind>split|full|off)|kvm-i8259|KVM_(?:SET|GET)_IRQCHIP|KVM_(?:SET|GET)_PIT|flic|qemu-s390-flic/,
    meaning:
      'The interrupt controller of the two sides is not the same kind (in the kernel, split, or in QEMU).',
    advice: ['Use the same kernel_irqchip (libvirt: <ioapic driver>) and machine type on both sides.'],
  },
  {
    code: 'clock',
    broad: true,
    pattern:
      /[Gg]uest clock|TOD clock|s390_init_tod|KVM_(?:SET|GET)_CLOCK|kvm-?clock|KVM_KVMCLOCK_CTRL|KVM_(?:SET|GET)_TSC/,
    meaning: "KVM at this host cannot set the guest's clock.",
    advice: ['Use kernels of the same level on both hosts.'],
  },
  {
    code: 'kvm-host',
    broad: true,
    pattern:
      /KVM|\bkvm\b|MSR|virtual msr|memory \(0x|(?:lock detection|payload|vmexit|event) cap|irqchip|IRQ mode|APIC|RAPL|vp_index|SynIC|TSC reset|XCOMP|prctl|ARCH_REQ|memory attribute|TOD clock|[Hh]ardware memory error|registers|host max|(?<what>KVM_\w+|kvm_\w+)(?:\(\))? (?:failed|error)|kvm_init_vcpu|(?:KVM|kvm|kernel) (?:does ?n[o']t|is not|lacks|doesn't) (?:support|allow|implement)|not supported by (?:KVM|this kernel|host kernel)|[Kk]VM (?:version too old|exit)|Host kernel setup problem|failed to enable KVM_CAP_(?<cap>\w+)|KVM: (?:injection failed|Failed)|Hyper-V|hv-\w+|ignore_msrs|MCE|[Ss]GX|SEV|TDX|xsave|XFD|PMU|dirty.ring|dirty-ring|KVM dirty/,
    meaning:
      'KVM of this host cannot do what the command line asks for, or failed at it ({what}{cap}). It is the host, not the stream.',
    advice: [
      'Compare kernel version and module parameters of both hosts, and use a host that has what the VM was started with; journalctl -k says more.',
    ],
  },
];
