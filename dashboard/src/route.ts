import { signal } from '@preact/signals'

/** Views that stand by themselves. */
export const PLACES = ['activity', 'environments', 'credentials', 'hooks', 'catalogs', 'notifiers', 'tokens'] as const
export type Place = (typeof PLACES)[number]

export type Route =
  | { view: 'stacks' }
  | { view: 'stack'; environment: string; name: string }
  | { view: 'deployment'; id: string }
  | { view: Place }
  | { view: 'nowhere' }

/** What an address shows. The server knows the same addresses. */
export function read(path: string): Route {
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent)
  const [first, second, third] = parts
  if (parts.length === 0) return { view: 'stacks' }
  if (first === 'stacks' && second && third && parts.length === 3) return { view: 'stack', environment: second, name: third }
  if (first === 'deployments' && second && parts.length === 2) return { view: 'deployment', id: second }
  const place = PLACES.find((it) => it === first)
  if (parts.length === 1 && place) return { view: place }
  return { view: 'nowhere' }
}

export const route = signal<Route>(read(location.pathname))
export const search = signal(location.search)

/** Where focus goes after a change of view. */
export const VIEW_HEADING = 'view-heading'

function arrived(): void {
  const before = JSON.stringify(route.value)
  const now = read(location.pathname)
  search.value = location.search
  if (JSON.stringify(now) === before) return
  route.value = now
  scrollTo(0, 0)
  // A reader of the screen hears the new view's name; a reader of the keyboard goes on from the top.
  requestAnimationFrame(() => document.getElementById(VIEW_HEADING)?.focus({ preventScroll: true }))
}

export function navigate(url: string, how: 'push' | 'replace' = 'push'): void {
  history[how === 'push' ? 'pushState' : 'replaceState'](null, '', url)
  arrived()
}

addEventListener('popstate', arrived)

/** Links of the page itself are followed without a reload. */
document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element).closest?.('a')
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return
  if (read(link.pathname).view === 'nowhere' || link.getAttribute('href')?.startsWith('#')) return
  event.preventDefault()
  navigate(link.pathname + link.search)
})

export const stackUrl = (it: { environment: string; name: string }, tab?: string): string =>
  `/stacks/${encodeURIComponent(it.environment)}/${encodeURIComponent(it.name)}${tab ? `?tab=${tab}` : ''}`
export const deploymentUrl = (id: string): string => `/deployments/${encodeURIComponent(id)}`
