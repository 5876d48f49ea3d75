import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { signOut, token } from '../api/client'
import { again, link } from '../live/link'
import { here } from '../live/now'
import { spoken } from '../live/stores'
import { KEYS, keysOn, setKeys } from '../keys'
import { clock, span } from '../model/time'
import { route, search, type Route } from '../route'
import { theme, turn } from '../theme'
import { close, Dialog, dialog, OpenDialog } from '../ui/dialog'
import { Icon, Mark } from '../ui/icons'
import { Activity } from './activity'
import { CatalogsView } from './catalogs'
import { CredentialsView } from './credentials'
import { DeploymentView } from './deployment'
import { EnvironmentsView } from './environments'
import { HooksView } from './hooks'
import { NotifiersView } from './notifiers'
import { SignIn } from './signin'
import { StackView } from './stack'
import { Stacks } from './stacks'
import { TokensView } from './tokens'

const PLACES: readonly [string, string, readonly Route['view'][]][] = [
  ['/', 'Stacks', ['stacks', 'stack', 'deployment']],
  ['/activity', 'Activity', ['activity']],
  ['/environments', 'Environments', ['environments']],
  ['/credentials', 'Credentials', ['credentials']],
  ['/hooks', 'Hooks', ['hooks']],
  ['/catalogs', 'Catalogs', ['catalogs']],
  ['/notifiers', 'Notifiers', ['notifiers']],
  ['/tokens', 'Tokens', ['tokens']],
]

export function Shell() {
  const at = route.value.view
  const tab = search.value
  // On a narrow screen the rows of links scroll: the one that is shown is in sight.
  useEffect(() => {
    for (const link of document.querySelectorAll('.places [aria-current], .tabs [aria-current]')) {
      const row = link.parentElement!
      const [left, right] = [(link as HTMLElement).offsetLeft - row.offsetLeft, row.scrollLeft + row.clientWidth]
      if (left < row.scrollLeft || left + link.clientWidth > right) row.scrollLeft = left - 16
    }
  }, [at, tab])
  if (token.value === null) return <SignIn />
  const lost = link.value.kind === 'lost'
  return (
    <>
      <a class="skip" href="#main">
        To the content
      </a>
      <header class="bar">
        <a class="brand" href="/" aria-label="Skep: all stacks">
          <Mark />
          <span>skep</span>
        </a>
        <nav class="places" aria-label="Places">
          {PLACES.map(([url, word, views]) => (
            <a key={url} href={url} aria-current={views.includes(route.value.view) ? 'page' : undefined}>
              {word}
            </a>
          ))}
        </nav>
        <div class="corner">
          <LinkWord />
          <button type="button" class="quiet" onClick={turn} aria-label={`Theme: ${theme.value}. Turn it`} title={`Theme: ${theme.value}`}>
            <Icon name={theme.value === 'dark' ? 'moon' : theme.value === 'light' ? 'sun' : 'auto'} />
          </button>
          <button type="button" class="quiet" onClick={openHelp} aria-label="Keys and help" title="Keys and help">
            <Icon name="question" />
          </button>
          <button type="button" class="quiet" onClick={() => signOut()} aria-label="Sign out" title="Sign out">
            <Icon name="out" />
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1} class={lost ? 'stale' : ''}>
        <View />
      </main>
      <Banner />
      <div class="sr" role="status" aria-live="polite">
        {spoken.value}
      </div>
      <OpenDialog />
    </>
  )
}

function View(): ComponentChildren {
  const at = route.value
  switch (at.view) {
    case 'stacks':
      return <Stacks />
    case 'stack':
      return <StackView environment={at.environment} name={at.name} />
    case 'deployment':
      return <DeploymentView id={at.id} />
    case 'environments':
      return <EnvironmentsView />
    case 'activity':
      return <Activity />
    case 'credentials':
      return <CredentialsView />
    case 'hooks':
      return <HooksView />
    case 'catalogs':
      return <CatalogsView />
    case 'notifiers':
      return <NotifiersView />
    case 'tokens':
      return <TokensView />
    case 'nowhere':
      return (
        <div class="empty">
          <h1>There is nothing here</h1>
          <p>
            <a href="/">All stacks</a>
          </p>
        </div>
      )
  }
}

function LinkWord() {
  const { kind } = link.value
  const word = kind === 'live' ? 'Live' : kind === 'lost' ? 'Disconnected' : 'Connecting'
  return (
    <span class={`linkword ${kind}`} data-link={kind}>
      <i aria-hidden="true" />
      {word}
    </span>
  )
}

/** Lies over the page's foot, so that nothing moves when it comes. */
function Banner() {
  const state = link.value
  return (
    <div class="banner" role="alert" hidden={state.kind !== 'lost'}>
      {state.kind === 'lost' && (
        <>
          <Icon name="bang" />
          <p>
            <b>Disconnected since {clock(new Date(state.since).toISOString(), here.value)}.</b> What you see is from then; actions are locked.{' '}
            <span aria-live="off">
              {state.retryAt ? `Trying again in ${span(Math.max(1, (state.retryAt - here.value) / 1000))}.` : 'Trying now…'}
            </span>
          </p>
          <button type="button" onClick={() => void again()}>
            Try now
          </button>
        </>
      )}
    </div>
  )
}

export function openHelp(): void {
  dialog.value = () => (
    <Dialog title="Keys">
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(' ').map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <label class="check">
        <input type="checkbox" checked={keysOn.value} onChange={(event) => setKeys(event.currentTarget.checked)} /> Single keys do something
      </label>
      <div class="buttons">
        <button type="button" class="primary" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  )
}
