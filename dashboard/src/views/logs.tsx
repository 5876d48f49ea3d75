import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { ApiError } from '../api/client'
import { FollowLogs, type LogLine } from '../api/documents'
import { follow } from '../live/link'
import { extend, hue, plain, who } from '../model/log'
import { Trouble } from '../ui/bits'

/** Lines that are shown at most: the newest. */
const MOST = 2000
/** Nearer to the end than this is at the end, in pixels. */
const NEAR = 24

interface Shown {
  lines: LogLine[]
  /** Older ones that are not shown any more. */
  gone: number
  /** Came while somebody was reading further up. */
  waiting: LogLine[]
  ended: boolean
  begun: boolean
}

const NOTHING: Shown = { lines: [], gone: 0, waiting: [], ended: false, begun: false }

/** A log, live: it goes on by itself at its end, and stands still for who reads further up. */
export function LogPanel({
  deployment = null,
  stack = null,
  environment,
  services,
}: {
  deployment?: string | null
  stack?: string | null
  environment: string
  services: readonly string[]
}) {
  const [service, setService] = useState('')
  const [find, setFind] = useState('')
  const [shown, setShown] = useState<Shown>(NOTHING)
  const [refused, setRefused] = useState<ApiError | null>(null)
  const [round, setRound] = useState(0)
  const list = useRef<HTMLDivElement>(null)
  const paused = useRef(false)
  /** Somebody said that it is to stand still, wherever he reads. */
  const [stands, setStands] = useState(false)
  const stood = useRef(false)
  stood.current = stands

  useEffect(() => {
    setShown(NOTHING)
    setRefused(null)
    paused.current = false
    let coming: LogLine[] = []
    let ended = false
    let frame = 0
    const flush = () => {
      frame = 0
      const lines = coming
      coming = []
      setShown((before) => take(before, lines, ended, paused.current))
    }
    const stop = follow(
      FollowLogs,
      () => ({ deployment, stack, environment, service: service || null }),
      ({ logLines }) => {
        setRefused(null)
        // The first message of each connection is empty: all of the log comes after it once more.
        if (logLines.lines.length === 0 && !logLines.ended) {
          coming = []
          setShown({ ...NOTHING, begun: true })
          paused.current = stood.current
        }
        coming.push(...logLines.lines)
        ended = logLines.ended
        // A hidden page has no frames.
        frame ||= document.visibilityState === 'visible' ? requestAnimationFrame(flush) : (setTimeout(flush, 200) as never)
      },
      setRefused,
    )
    return () => {
      stop()
      cancelAnimationFrame(frame)
    }
  }, [deployment, stack, environment, service, round])

  useLayoutEffect(() => {
    if (!paused.current && list.current) list.current.scrollTop = list.current.scrollHeight
  }, [shown, find])

  const goOn = () => {
    paused.current = false
    setShown((before) => take(before, [], before.ended, false))
  }
  const scrolled = () => {
    const at = list.current
    if (!at) return
    const away = at.scrollHeight - at.scrollTop - at.clientHeight > NEAR
    if (stood.current) return
    if (!away && paused.current) goOn()
    paused.current = away
  }
  const wanted = find.trim().toLowerCase()
  const fits = (line: LogLine) => !wanted || line.text.toLowerCase().includes(wanted) || who(line).toLowerCase().includes(wanted)
  const lines = wanted ? shown.lines.filter(fits) : shown.lines
  const names = [...new Set([...services, ...(service ? [service] : [])])].sort()
  return (
    <div class="logs">
      <div class="log-bar">
        <label>
          Service{' '}
          <select value={service} onChange={(event) => setService(event.currentTarget.value)}>
            <option value="">all, and what Skep did</option>
            {names.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          Find <input type="search" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
        </label>
        <span class="faint log-state" role="status">
          {refused ? '' : state(shown, lines.length, wanted !== '')}
        </span>
        <button
          type="button"
          aria-pressed={stands}
          onClick={() => {
            setStands(!stands)
            if (stands) goOn()
            else paused.current = true
          }}
        >
          {stands ? 'Go on' : 'Pause'}
        </button>
        <button type="button" disabled={lines.length === 0} onClick={() => save(lines)}>
          Download
        </button>
      </div>
      {refused && <Trouble message={refused.message} retry={() => setRound(round + 1)} />}
      <div class="log-lines" ref={list} onScroll={scrolled} tabIndex={0} role="log" aria-live="off" aria-label="Log lines">
        {shown.gone > 0 && <p class="faint">… {shown.gone} older lines are not shown</p>}
        {lines.map((line, index) => (
          <p key={shown.gone + index} data-service={line.service ?? 'skep'} data-stream={line.stream}>
            <time dateTime={line.time} title={line.time}>
              {new Date(line.time).toLocaleTimeString([], { hour12: false })}
            </time>{' '}
            <b class={line.service === null ? 'log-skep' : `hue-${hue(line)}`}>{who(line)}</b> <span>{plain(line.text)}</span>
          </p>
        ))}
      </div>
      {shown.waiting.length > 0 && (
        <button
          type="button"
          class="log-more"
          onClick={() => {
            setStands(false)
            goOn()
          }}
        >
          {shown.waiting.length === 1 ? '1 new line' : `${shown.waiting.length} new lines`} ↓
        </button>
      )}
    </div>
  )
}

function take(before: Shown, more: LogLine[], ended: boolean, paused: boolean): Shown {
  if (paused) return { ...before, waiting: extend(before.waiting, more, MOST).lines, ended }
  const { lines, gone } = extend(before.lines, [...before.waiting, ...more], MOST)
  return { lines, gone: before.gone + gone, waiting: [], ended, begun: true }
}

function state(shown: Shown, count: number, filtered: boolean): string {
  if (!shown.begun) return 'asking…'
  const lines = count === 1 ? '1 line' : `${count} lines`
  if (shown.lines.length === 0) return shown.ended ? 'nothing was written' : 'nothing yet; waiting'
  return `${lines}${filtered ? ' found' : ''}, ${shown.ended ? 'ended' : 'live'}`
}

/** The lines as a file. */
function save(lines: readonly LogLine[]): void {
  const text = lines.map((line) => `${line.time} ${who(line)}: ${line.text}\n`).join('')
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }))
  link.download = 'skep.log'
  link.click()
  URL.revokeObjectURL(link.href)
}
