/** Random numbers from 0 to below a count. */
export type Below = (count: number) => number;

/** Properties that are `on`, `off` or `auto`: in JSON they are texts. */
const THREE_WAYS = /^(disable-legacy|write-cache)$/;
/** Texts, whatever they look like. */
const TEXTS = /^(addr|serial|mac|drive|netdev|romfile|id|duplex)$/;

/** A device as a command line has it: the type, and properties in their order. */
interface Device {
  readonly driver: string;
  readonly properties: readonly (readonly [key: string, value: string])[];
}

/** The same command line in other forms, as QEMU allows them; JSON devices are made later, and so may end elsewhere. */
export function disguised(words: readonly string[], below: Below): string[] {
  const behind: string[] = [];
  const found = words.flatMap((word, at) => {
    if (words[at - 1] !== '-device') return [word];
    const [driver = '', ...pairs] = word.split(',');
    const properties = pairs.map((pair): [string, string] => {
      const split = pair.indexOf('=');
      return [pair.slice(0, split), pair.slice(split + 1)];
    });
    return [form({ driver, properties }, `x${at}`, behind, below)];
  });
  return [...found, ...behind];
}

function form(device: Device, id: string, behind: string[], below: Below): string {
  const { driver, properties } = device;
  const [last] = properties.slice(-1);
  switch (below(8)) {
    case 0:
      return text({ ...device, driver: driver.replace(/-pci$/, '') });
    case 1:
      return json(device);
    case 2:
      return [...properties.map(([key, value]) => `${key}=${value}`), `driver=${driver}`].join(',');
    case 3:
      if (last === undefined) return text(device);
      behind.push('-set', `device.${id}.${last[0]}=${last[1]}`);
      return text({ driver, properties: [...properties.slice(0, -1), ['id', id]] });
    case 4:
      if (last === undefined || TEXTS.test(last[0])) return text(device);
      behind.push('-global', `${driver}.${last[0]}=${last[1]}`);
      return text({ driver, properties: properties.slice(0, -1) });
    case 5:
      return text({
        driver,
        properties: properties.map(([key, value]) => [key, numeral(key, value, below)]),
      });
    case 6:
      return [driver, ...properties.map(([key, value]) => flag(key, value))].join(',');
    default:
      return text(device);
  }
}

function text({ driver, properties }: Device): string {
  return [driver, ...properties.map(([key, value]) => `${key}=${value}`)].join(',');
}

function flag(key: string, value: string): string {
  return value === 'on' ? key : value === 'off' ? `no${key}` : `${key}=${value}`;
}

/** The same number in another notation. */
function numeral(key: string, value: string, below: Below): string {
  if (key === 'addr') {
    const slot = Number.parseInt(value.replace(/^0x/, ''), 16).toString(16);
    return [slot, `0x${slot}`, `0${slot}`, `0x${slot}.0x0`, `${slot}.0`][below(5)] ?? value;
  }
  if (TEXTS.test(key) || !/^[1-9]\d*$/.test(value)) return value;
  const number = Number(value);
  return [`0x${number.toString(16)}`, `0${number.toString(8)}`, value][below(3)] ?? value;
}

function json({ driver, properties }: Device): string {
  const typed = properties.map(([key, value]): [string, unknown] => {
    if ((value === 'on' || value === 'off') && !THREE_WAYS.test(key)) return [key, value === 'on'];
    return [key, /^\d+$/.test(value) && !TEXTS.test(key) ? Number(value) : value];
  });
  return JSON.stringify({ driver, ...Object.fromEntries(typed) });
}
