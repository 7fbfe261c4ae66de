// What a newcomer wants to know of fields in the tour through a stream, by path as `virtkit inspect --hex` has it.

export const NOTES: Readonly<Record<string, string>> = {
  magic: 'the letters `QEVM`',
  version: 'of the format: 3 in every QEMU of today',
  'configuration type': 'section type 7: what follows decides whether the destination looks at the rest',
  'name.bytes': 'the machine type. The destination refuses any other',
  'capabilities.length': 'how many migration capabilities both sides must have alike',
  'section type': '1: a section that comes in parts begins; 4: a section that is whole',
  'section id': 'a number that the source chose; parts and the footer refer to it',
  'section name': 'the device, with its length in front: a path on its bus, then the name of the format',
  'instance id': 'which of several sections of this name',
  'version id': 'version of the format of this section',
  'transport.versionId': 'of the PCI function’s own state',
  'transport.config': 'the 256 bytes of PCI configuration space, little-endian as on the bus',
  'transport.irqState[0]': 'level of the pin INTA, and of INTB to INTD behind it',
  'transport.msixTable[0].address': 'where interrupt vector 0 is written to: the guest’s local APIC',
  'transport.msixTable[0].data': 'and what is written: the interrupt’s number',
  'transport.msixTable[0].control': 'bit 0 would mask the vector',
  'transport.msixPba': 'a bit for each vector that is pending behind a mask',
  'transport.configVector': 'the vector of configuration changes',
  status: 'ACKNOWLEDGE, DRIVER, FEATURES_OK and DRIVER_OK: the driver is running',
  isr: 'bit 0: a used buffer notification was raised',
  queueSel: 'the queue that the driver looked at last by its registers',
  guestFeatures:
    'the lower 32 feature bits that the driver took. The upper ones did not exist when this field was made',
  'config.length': 'length of the configuration space that follows',
  'config.bytes':
    'the configuration space: of a disk its capacity in sectors first, little-endian since the driver is a modern one',
  numQueues: 'queues that follow',
  'queues[0].num': 'entries of the ring',
  'queues[0].desc': 'guest address of the descriptor table',
  'queues[0].lastAvailIdx': 'how many requests the device has taken from the ring, modulo 65536',
  'queues[0].transport.vector': 'the interrupt vector of this queue: the transport’s one field in each queue',
  'device.requests[0].element':
    'head of the chain, then room for 1024 addresses and 1024 lengths each way, used or not',
  mark: 'one byte 1 in front of each request; 0 behind the last',
  'subsections.features64': 'all 64 feature bits. Sent since a bit above 31 was negotiated',
  'subsections.virtqueues[0].avail': 'address of the available ring, which a modern driver chooses freely',
  'subsections.virtqueues[0].used': 'address of the used ring',
  'subsections.extraState.modernState.dfselect':
    'the half of the offered feature bits that the driver looked at last',
  'subsections.extraState.modernState.gfselect': 'and the half of its own that it wrote last',
  'subsections.extraState.modernState.guestFeatures':
    'the feature bits once more, as the modern registers have them: two words, the lower one first',
  'subsections.extraState.modernState.vqs[0].desc':
    'the ring’s addresses once more, as the registers hold them, again the lower word first',
  'subsections.started':
    'the device was working: DRIVER_OK is not proof, since a legacy driver may kick before it',
};
