import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { StackPhase } from '../api/documents'
import { link } from '../live/link'
import { now } from '../live/now'
import { LOOKS, type DeploymentPhase } from '../model/phase'
import { sentence } from '../model/sentence'
import { age, ago, clock } from '../model/time'
import { label, type VersionLike } from '../model/version'
import { deploymentUrl, VIEW_HEADING } from '../route'
import { Icon } from './icons'

/** A phase: a sign and a word, in its colour. */
export function Phase({ phase, large = false }: { phase: StackPhase | DeploymentPhase; large?: boolean }) {
  const look = LOOKS[phase]
  return (
    <span class={`phase tone-${look.tone}${large ? ' large' : ''}`} data-phase={phase}>
      <Icon name={look.icon} size={large ? 18 : 14} />
      <span>{look.word}</span>
    </span>
  )
}

/** A sentence of the server's: as a sentence, with its names set apart. */
export function Said({ text }: { text: string }) {
  const parts = sentence(text).split('`')
  return <>{parts.map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</>
}

/** A moment, told as an age that goes on. The exact time is its title. */
export function Ago({ time, bare = false }: { time: string; bare?: boolean }) {
  return (
    <time dateTime={time} title={clock(time, now.value)}>
      {bare ? age(time, now.value) : ago(time, now.value)}
    </time>
  )
}

export function Version({ version, other = null }: { version: VersionLike | null; other?: VersionLike | null }) {
  const text = label(version, other)
  if (!text) return <span class="faint">none yet</span>
  const all = version!.images.map((image) => `${image.service}: ${image.image}`).join('\n')
  return (
    <code class="version" title={[version!.revision, all].filter(Boolean).join('\n')}>
      {text}
    </code>
  )
}

/** The end of a deployment's id: what tells two of them apart at a glance. */
export function DeploymentLink({ id }: { id: string }) {
  return (
    <a class="mono" href={deploymentUrl(id)} title={id}>
      …{id.slice(-6)}
    </a>
  )
}

/** How many of the wanted tasks run. */
export function TaskBar({ services }: { services: readonly { wanted: number; healthy: number }[] }) {
  const wanted = services.reduce((sum, it) => sum + it.wanted, 0)
  const healthy = services.reduce((sum, it) => sum + Math.min(it.healthy, it.wanted), 0)
  const tone = healthy < wanted ? 'busy' : 'good'
  const text = wanted === 0 ? 'no tasks yet' : `${healthy} of ${wanted} tasks`
  return (
    <span class={`taskbar tone-${tone}`} role="img" aria-label={text} title={text}>
      {wanted > 0 && wanted <= 12 ? (
        <span class="cells">
          {Array.from({ length: wanted }, (_, index) => (
            <i key={index} class={index < healthy ? 'hex on' : 'hex'} />
          ))}
        </span>
      ) : (
        <span class="bar">
          <i style={{ width: `${wanted === 0 ? 0 : (healthy / wanted) * 100}%` }} />
        </span>
      )}
      <b>{wanted === 0 ? '–' : `${healthy}/${wanted}`}</b>
    </span>
  )
}

/** Shown only when waiting takes longer than one notices; without a connection it says what it waits for. */
export function Loading({ rows = 6 }: { rows?: number }) {
  const [late, setLate] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 300)
    return () => clearTimeout(timer)
  }, [])
  if (link.value.kind === 'lost') {
    return (
      <Empty title="Not here yet">
        <p>This was not open when the connection was lost. It comes as soon as the server answers.</p>
      </Empty>
    )
  }
  return (
    <div class="skeleton" aria-busy="true" aria-label="loading" role="status">
      {late && Array.from({ length: rows }, (_, index) => <div key={index} class="bone" />)}
    </div>
  )
}

export function Trouble({ message, retry }: { message: string; retry?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <Icon name="bang" />
      <p>{message}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}

/** `head`: it stands for the whole view, and is its heading. */
export function Empty({ title, head = false, children }: { title: string; head?: boolean; children?: ComponentChildren }) {
  return (
    <div class="empty">
      {head ? (
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          {title}
        </h1>
      ) : (
        <h2>{title}</h2>
      )}
      {children}
    </div>
  )
}

/** Text to be taken along. */
export function Copy({ text }: { text: string }) {
  const [done, setDone] = useState(false)
  const timer = useRef<ReturnType<typeof setTimeout>>()
  useEffect(() => () => clearTimeout(timer.current), [])
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setDone(true)
      timer.current = setTimeout(() => setDone(false), 2000)
    } catch {
      // Without a secure context there is no clipboard: the text can still be selected.
      setDone(false)
    }
  }
  return (
    <div class="copy">
      <pre tabIndex={0}>{text}</pre>
      <button type="button" onClick={() => void copy()}>
        {done ? 'Copied' : 'Copy'}
      </button>
    </div>
  )
}

/** A name and what it stands for. */
export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

export function Json({ value }: { value: unknown }) {
  const text = JSON.stringify(value, null, 2)
  return (
    <pre class="block" tabIndex={0}>
      {text === undefined || text === 'null' ? 'nothing' : text.replaceAll('\\n', '\n').replaceAll('\\"', '"')}
    </pre>
  )
}

/** Patterns of stacks and environments, in words where they are everything. */
export function Scope({ stacks, environments }: { stacks: readonly string[]; environments: readonly string[] }) {
  const all = (of: readonly string[]) => of.includes('*')
  return (
    <>
      {all(stacks) ? 'all stacks' : <code>{stacks.join(', ')}</code>} in{' '}
      {all(environments) ? 'all environments' : <code>{environments.join(', ')}</code>}
    </>
  )
}
