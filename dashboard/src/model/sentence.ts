/** What the server says, as a sentence: it begins large, and ends with a stop. A lone backtick is left out. */
export function sentence(text: string): string {
  const trimmed = text.trim()
  if (trimmed === '') return ''
  const whole = trimmed[0]!.toUpperCase() + trimmed.slice(1)
  const even = (whole.split('`').length - 1) % 2 === 0 ? whole : whole.replaceAll('`', '')
  return /[.!?:]$/.test(even) ? even : `${even}.`
}
