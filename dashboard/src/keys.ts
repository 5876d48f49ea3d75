import { signal } from '@preact/signals'
import { token } from './api/client'
import { navigate } from './route'
import { dialog } from './ui/dialog'
import { openTab, turnTab } from './views/stack'

const KEY = 'skep.keys'
/** Single keys can be turned off: some people's software types them by itself. */
export const keysOn = signal(localStorage.getItem(KEY) !== 'off')

export function setKeys(on: boolean): void {
  keysOn.value = on
  if (on) localStorage.removeItem(KEY)
  else localStorage.setItem(KEY, 'off')
}

export const KEYS: readonly [string, string][] = [
  ['/', 'find a stack'],
  ['j k', 'the next, the last row'],
  ['Enter', 'open it'],
  ['[ ]', 'the tab before, the tab after'],
  ['d', 'what a stack would change'],
  ['l', 'its logs'],
  ['r', 'roll it back'],
  ['g s', 'go to stacks'],
  ['g a', 'go to activity'],
  ['g e', 'go to environments'],
  ['g c', 'go to credentials'],
  ['g h', 'go to hooks'],
  ['g l', 'go to catalogs'],
  ['g n', 'go to notifiers'],
  ['g t', 'go to tokens'],
  ['?', 'this list'],
  ['Esc', 'close, or leave the field'],
]

const PLACES: Record<string, string> = { s: '/', a: '/activity', e: '/environments', c: '/credentials', h: '/hooks', l: '/catalogs', n: '/notifiers', t: '/tokens' }
let afterG = 0

function walk(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLAnchorElement>('.stacks .cover')]
  const at = rows.indexOf(document.activeElement as HTMLAnchorElement)
  const to = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))
  rows[to]?.focus()
  rows[to]?.closest('li')?.scrollIntoView({ block: 'nearest' })
}

export function listen(help: () => void): void {
  document.addEventListener('keydown', (event) => {
    if (!keysOn.value || token.value === null || dialog.value) return
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const target = event.target as HTMLElement
    if (target.closest('input, textarea, select, [contenteditable]')) return
    if (afterG && performance.now() - afterG < 1500) {
      afterG = 0
      const place = PLACES[event.key]
      if (place) {
        event.preventDefault()
        navigate(place)
        return
      }
    }
    switch (event.key) {
      case '/': {
        event.preventDefault()
        const field = document.getElementById('find')
        // At once where it is there: the next keys are meant for it.
        if (field) return field.focus()
        navigate('/')
        requestAnimationFrame(() => document.getElementById('find')?.focus())
        break
      }
      case 'j':
        return walk(1)
      case 'k':
        return walk(-1)
      case '[':
        return turnTab(-1)
      case ']':
        return turnTab(1)
      case 'd':
        return openTab('changes')
      case 'l':
        return openTab('logs')
      case 'r': {
        // Of the row that has the focus, or of the stack that is shown.
        const of = target.closest('.row') ?? document.querySelector('.stack')
        return of?.querySelector<HTMLButtonElement>('[data-do=rollback]')?.click()
      }
      case 'g':
        afterG = performance.now()
        break
      case '?':
        help()
    }
  })
}
