/** Streams of the corpus as other programs and guests would have written them. */
import { decodeVirtioState, findVirtio, type MigrationStream, type StreamSection } from '@virtkit/migration';
import { registry } from './corpus.ts';

/** The stream, said to be of another machine type. */
export function ofMachine(stream: MigrationStream, name: string): MigrationStream {
  return { ...stream, configuration: { name, capabilities: stream.configuration?.capabilities ?? [] } };
}

/** The stream of a guest that uses these features, too, in the devices of a type. */
export function withFeatures(stream: MigrationStream, device: string, features: bigint): MigrationStream {
  const sections = stream.sections.map((section): StreamSection => {
    const found = findVirtio(section, registry);
    if (found?.name !== device) return section;
    const state = decodeVirtioState(found);
    const { features64 } = state.subsections;
    if (features64 === undefined) throw new Error(`${section.header.idstr} has no 64 bits of features`);
    const subsections = { ...state.subsections, features64: features64 | features };
    return { ...section, body: found.codec.encode({ ...state, subsections }) };
  });
  return { ...stream, sections };
}
