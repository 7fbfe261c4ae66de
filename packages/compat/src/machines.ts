import {
  compareVersion,
  type MachineFamily,
  machineVersion,
  type QemuVersion,
  type VersionedMachine,
} from '@virtkit/core/qemu';

/** Is this the name of a machine type of QEMU's own, of any version and architecture? */
export function isQemuMachine(machine: string): boolean {
  return machineVersion(machine) !== undefined || WITHOUT_VERSION.has(machine);
}

/** Finds the oldest and the newest machine version that a QEMU has of a family; `0.0` where the oldest is not known. */
export function machineRange(
  { machines, name }: QemuVersion,
  family: MachineFamily,
): readonly [string, string] {
  return family === 'virt' || family === 'pseries' ? ['0.0', name] : machines[family];
}

/** Does this QEMU have that version of a family? */
export function hasMachine(qemu: QemuVersion, { family, version }: VersionedMachine): boolean {
  const [oldest, newest] = machineRange(qemu, family);
  return compareVersion(version, oldest) >= 0 && compareVersion(version, newest) <= 0;
}

/**
 * Names of machine types that `-machine help` of QEMU 7.2 and 10.0 lists besides, and the machines of MIPS, SPARC and
 * Xen.
 */
const WITHOUT_VERSION: ReadonlySet<string> = new Set(
  `
10m50-ghrd 40p akita amd-microblaze-v-generic amigaone an5206 arduino-duemilanove arduino-mega
arduino-mega-2560-v3 arduino-uno ast1030-evb ast2500-evb ast2600-evb ast2700-evb ast2700a0-evb ast2700a1-evb
axis-dev88 b-l475e-iot01a B160L bamboo bletchley-bmc borzoi boston bpim2u C3700 canon-a1100 cheetah clipper
collie connex cubieboard emcraft-sf2 fby35 fby35-bmc fp5280g2-bmc fuji-bmc fuloong2e g220a-bmc g3beige
gdbsim-r5f562n7 gdbsim-r5f562n8 highbank hppa imx25-pdk imx8mp-evk integratorcp isapc kc705 kc705-nommu
KIT_AURIX_TC277_TRB kudo-bmc kvm-xilinx kzm leon3_generic lm3s6965evb lm3s811evb loongson3-virt LX lx200
lx200-nommu lx60 lx60-nommu mac99 magnum mainstone malta mcf5208evb mcimx6ul-evk mcimx7d-sabre mega mega2560
microbit microchip-icicle-kit microvm midway mipssim ml605 ml605-nommu mori-bmc mpc8544ds mps2-an385
mps2-an386 mps2-an500 mps2-an505 mps2-an511 mps2-an521 mps3-an524 mps3-an536 mps3-an547 musca-a musca-b1
musicpal n800 n810 netduino2 netduinoplus2 next-cube niagara nios2-generic-nommu nitro none npcm750-evb
npcm845-evb nuri olimex-stm32-h405 opentitan or1k-sim orangepi-pc palmetto-bmc pegasos2 petalogix-ml605
petalogix-s3adsp1800 pica61 powernv powernv10 powernv8 powernv9 ppce500 prep q800 qcom-dc-scm-v1-bmc
qcom-firework-bmc quanta-gbs-bmc quanta-gsj quanta-q71l-bmc r2d rainier-bmc raspi0 raspi1ap raspi2b raspi3ap
raspi3b raspi4b realview-eb realview-eb-mpcore realview-pb-a8 realview-pbx-a9 ref405ep romulus-bmc sabrelite
sam460ex sbsa-ref shakti_c shix sifive_e sifive_u sim smdkc210 sonorapass-bmc SPARCbook SPARCClassic spike
spitz SS-10 SS-20 SS-4 SS-5 SS-600MP stm32vldiscovery sun4u sun4v supermicro-x11spi-bmc supermicrox11-bmc sx1
sx1-v1 tacoma-bmc terrier tiogapass-bmc tosa tricore_testboard uno verdex versatileab versatilepb vexpress-a15
vexpress-a9 virt virtex-ml507 Voyager witherspoon-bmc x-remote xenfv xenpv xenpvh xilinx-zynq-a9
xlnx-versal-virt xlnx-zcu102 xlnx-zynqmp-pmu yosemitev2-bmc z2
`
    .trim()
    .split(/\s+/),
);
