import { effect } from '@preact/signals'
import { render } from 'preact'
import './theme'
import './styles/index.css'
import { token } from './api/client'
import { listen } from './keys'
import { counts, keepCounts } from './live/stores'
import { LOOKS, type Tone } from './model/phase'
import { route, type Route } from './route'
import { openHelp, Shell } from './views/shell'

const BAD: readonly Tone[] = ['bad', 'back', 'warn']
const TITLES: Record<Exclude<Route['view'], 'stack' | 'deployment'>, string> = {
  stacks: 'Stacks',
  activity: 'Activity',
  environments: 'Environments',
  credentials: 'Credentials',
  hooks: 'Hooks',
  catalogs: 'Catalogs',
  notifiers: 'Notifiers',
  tokens: 'Tokens',
  nowhere: 'Nothing here',
}

keepCounts()
listen(openHelp)

effect(() => {
  const at = route.value
  const name = at.view === 'stack' ? at.name : at.view === 'deployment' ? `Deployment ${at.id.slice(-6)}` : TITLES[at.view]
  // What asks for a person stands in the tab, so that one sees it from elsewhere.
  const bad = [...(counts.value?.phases ?? [])].reduce((sum, [phase, count]) => sum + (BAD.includes(LOOKS[phase].tone) ? count : 0), 0)
  document.title = token.value === null ? 'Sign in · Skep' : `${bad > 0 ? `(${bad}) ` : ''}${name} · Skep`
})

render(<Shell />, document.getElementById('page')!)
