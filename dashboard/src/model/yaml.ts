/** Words that YAML would read as something else than text. */
const OTHER = /^(?:|~|null|true|false|yes|no|on|off|[-+.]?[\d.][\w.:+-]*|\.(?:inf|nan))$/i
/** Text that needs no quotes. */
const PLAIN = /^[\w./@+-](?:[\w ./@+=,()-]|:(?!\s|$))*$/

function scalar(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value !== 'string') return JSON.stringify(value)
  return PLAIN.test(value) && !OTHER.test(value) && !value.startsWith('- ') && value.trim() === value ? value : JSON.stringify(value)
}

const empty = (value: unknown): boolean => typeof value === 'object' && value !== null && Object.keys(value).length === 0

/** JSON as YAML, for people: text of several lines stands as it is written. */
export function yaml(value: unknown, indent = ''): string {
  if (typeof value === 'string' && value.includes('\n') && !/[^\n\t\x20-\x7e\u00a0-\uffff]/.test(value) && /^\S/.test(value)) {
    const keep = value.endsWith('\n') ? (value.endsWith('\n\n') ? '|+' : '|') : '|-'
    const text = value.replace(/\n$/, '')
    return `${keep}\n${text.split('\n').map((line) => (line ? `${indent}${line}` : '')).join('\n')}\n`
  }
  if (Array.isArray(value) && value.length > 0) {
    return value.map((item) => `${indent}- ${nested(item, `${indent}  `, true)}`).join('')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !empty(value)) {
    return Object.entries(value)
      .map(([key, item]) => `${indent}${scalar(key)}:${nested(item, `${indent}  `, false)}`)
      .join('')
  }
  return `${empty(value) ? (Array.isArray(value) ? '[]' : '{}') : scalar(value)}\n`
}

/** A value behind `key:` or `- `: lists and objects begin on a line of their own, but behind a dash. */
function nested(value: unknown, indent: string, behindDash: boolean): string {
  const text = yaml(value, indent)
  const many = typeof value === 'object' && value !== null && !empty(value)
  if (behindDash) return many ? text.slice(indent.length) : text
  return many ? `\n${text}` : ` ${text}`
}
