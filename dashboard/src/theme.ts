import { effect, signal } from '@preact/signals'

export type Theme = 'system' | 'light' | 'dark'
const KEY = 'skep.theme'
const stored = localStorage.getItem(KEY)

/** What the reader chose; `system` follows the operating system. */
export const theme = signal<Theme>(stored === 'light' || stored === 'dark' ? stored : 'system')

export function turn(): void {
  const order: Theme[] = ['system', 'light', 'dark']
  theme.value = order[(order.indexOf(theme.value) + 1) % order.length]!
}

effect(() => {
  if (theme.value === 'system') {
    delete document.documentElement.dataset['theme']
    localStorage.removeItem(KEY)
  } else {
    document.documentElement.dataset['theme'] = theme.value
    localStorage.setItem(KEY, theme.value)
  }
})
