import { effect } from '@preact/signals'
import { render } from 'preact'
import './theme'
import './styles/index.css'
import { token } from './api/client'
import { listen } from './keys'
import { keepFleet } from './live/stores'
import { route } from './route'
import { openHelp, Shell } from './views/shell'

keepFleet()
listen(openHelp)

effect(() => {
  const at = route.value
  const names = { stacks: 'Stacks', activity: 'Activity', environments: 'Environments', credentials: 'Credentials', nowhere: 'Nothing here' }
  const name = at.view === 'stack' ? at.name : at.view === 'deployment' ? `Deployment ${at.id.slice(-6)}` : names[at.view]
  document.title = token.value === null ? 'Sign in · Skep' : `${name} · Skep`
})

render(<Shell />, document.getElementById('page')!)
