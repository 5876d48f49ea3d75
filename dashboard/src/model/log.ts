/** What a line of a log says of who wrote it. */
export interface Writer {
  service: string | null
  slot: number | null
  node: string | null
}

/** How many hues there are in the sheet. */
const HUES = 6

/** `skep`, or `web.1@node-1` as far as it is known. */
export function who(line: Writer): string {
  if (line.service === null) return 'skep'
  return `${line.service}${line.slot === null ? '' : `.${line.slot}`}${line.node === null ? '' : `@${line.node}`}`
}

/** A number of a hue that is always the same for a task; none for Skep itself. */
export function hue(line: Writer): number | null {
  if (line.service === null) return null
  let sum = 5381
  for (const char of `${line.service}.${line.slot ?? 0}`) sum = ((sum * 33) ^ char.charCodeAt(0)) >>> 0
  return sum % HUES
}

/** A line without what would colour or steer a terminal. */
export function plain(text: string): string {
  return (
    text
      // eslint-disable-next-line no-control-regex
      .replace(/\x1b(?:\[[ -?]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?/g, '')
      .replace(/\t/g, '  ')
      // eslint-disable-next-line no-control-regex
      .replace(/[\x00-\x1f\x7f-\x9f]/g, '')
  )
}

/** The lines with more behind them, the newest `most`; and how many older ones went. */
export function extend<T>(known: readonly T[], more: readonly T[], most: number): { lines: T[]; gone: number } {
  const all = [...known, ...more]
  const gone = Math.max(0, all.length - most)
  return { lines: gone > 0 ? all.slice(gone) : all, gone }
}
