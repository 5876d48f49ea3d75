import { describe, expect, it } from 'vitest'
import type { EventLine, Task } from '../src/api/documents'
import { backoff, LONGEST } from '../src/live/backoff'
import { lines, readable, textDiff } from '../src/model/diff'
import { apart } from '../src/model/drift'
import { change, keepOrder, narrows, readFilter, writeFilter } from '../src/model/filter'
import { jobLine, JOB_LOOKS, jobTime } from '../src/model/jobs'
import { extend, hue, plain, who } from '../src/model/log'
import { next } from '../src/model/next'
import { LOOKS, STACK_PHASES } from '../src/model/phase'
import { sentence } from '../src/model/sentence'
import { steps } from '../src/model/steps'
import { cell, counted, sides } from '../src/model/tasks'
import { age, ago, span, took, until } from '../src/model/time'
import { changedImages, label, same } from '../src/model/version'
import { yaml } from '../src/model/yaml'

const NOW = Date.parse('2026-01-31T12:00:00Z')
const at = (seconds: number) => new Date(NOW + seconds * 1000).toISOString()
const image = (service: string, text: string) => ({ service, image: text, digest: null })
const version = (...images: [string, string][]) => ({ ref: null, revision: null, images: images.map(([s, i]) => image(s, i)) })

describe('times', () => {
  it('are told in few units', () => {
    expect([0, 8, 59, 60, 95, 3600, 7500, 200_000, 1_000_000].map(span)).toEqual([
      '0 s', '8 s', '59 s', '1 min', '1 min 35 s', '1 h', '2 h 5 min', '2 d 7 h', '11 d',
    ])
  })
  it('ages do not run backwards when the clocks differ', () => {
    expect(ago(at(30), NOW)).toBe('now')
    expect(age(at(-61), NOW)).toBe('1 min')
    expect(ago(at(-7300), NOW)).toBe('2 h ago')
  })
  it('what has passed has no until', () => {
    expect(until(at(-1), NOW)).toBeNull()
    expect(until(at(12), NOW)).toBe('12 s')
    expect(took(at(-3.25), at(0), NOW)).toBe('3.3 s')
  })
})

describe('reconnecting', () => {
  it('waits longer each time, spread out, and never too long', () => {
    expect(backoff(0, 0)).toBeLessThan(backoff(0, 0.999))
    expect(backoff(3, 0.9)).toBeGreaterThan(backoff(1, 0.9))
    for (let failures = 0; failures < 50; failures++) {
      for (const random of [0, 0.5, 0.9999]) {
        expect(backoff(failures, random)).toBeGreaterThanOrEqual(500)
        expect(backoff(failures, random)).toBeLessThanOrEqual(LONGEST)
      }
    }
  })
})

describe('versions', () => {
  it('are called by their commit, or by the images that tell them apart', () => {
    expect(label({ revision: '0123456789abcdef0123', images: [] })).toBe('01234567')
    expect(label(version(['a', 'x:1'], ['b', 'registry:5000/team/y:2@sha256:00']), version(['a', 'x:1'], ['b', 'y:1']))).toBe('y:2')
    expect(label(version(['a', 'x:1'], ['b', 'y:2']))).toBe('x:1 +1')
    expect(label(null)).toBeNull()
  })
  it('differ by added and removed services too', () => {
    expect(changedImages(version(['a', 'x:1']), version(['b', 'x:1']))).toEqual(['a', 'b'])
    expect(same(version(['a', 'x:1']), version(['a', 'x:1']))).toBe(true)
    expect(same(version(['a', 'x:1']), null)).toBe(false)
  })
})

describe('the list', () => {
  const filter = (text: string) => readFilter(new URLSearchParams(text))

  it('stands in the address, and nonsense in it does no harm', () => {
    for (const text of ['?q=shop&phase=Failed,RolledBack&env=prod&sort=newest', '', '?q=a%26b', '?after=YXQ', '?sort=name&before=YXQ']) {
      expect(writeFilter(filter(text))).toBe(text)
    }
    expect(filter('phase=Nonsense,Failed&sort=upwards&after=a&before=b')).toEqual({
      text: '', phases: ['Failed'], environment: null, sort: 'worst', after: 'a', before: null,
    })
  })
  it('begins with its first page when it is narrowed: a cursor belongs to its list', () => {
    expect(writeFilter(change(filter('?q=shop&after=YXQ'), { environment: 'prod' }))).toBe('?q=shop&env=prod')
    expect(writeFilter(change(filter('?q=shop'), { after: 'YXQ' }))).toBe('?q=shop&after=YXQ')
  })
  it('is narrowed by what leaves stacks out, and by nothing else', () => {
    for (const text of ['q=shop', 'phase=Failed', 'env=prod']) expect(narrows(filter(text))).toBe(true)
    for (const text of ['', 'q=+', 'sort=name', 'after=YXQ']) expect(narrows(filter(text))).toBe(false)
  })
  it('keeps its order under a hand: new rows last, gone rows where they were', () => {
    expect(keepOrder(['b', 'gone', 'a'], ['c', 'a', 'b'])).toEqual(['b', 'gone', 'a', 'c'])
  })
  it('knows a word and a sign for every phase', () => {
    for (const phase of STACK_PHASES) expect(LOOKS[phase].word).toBeTruthy()
    expect(STACK_PHASES.length).toBe(9)
  })
})

describe('what happens next', () => {
  const said = (text: string, time: string | null) => next({ next: { text, at: time } }, NOW)
  it('is what the server says, in a sentence', () => expect(said('it waits until somebody approves its plan', null)).toBe('It waits until somebody approves its plan.'))
  it('speaks of its time as `then`', () => {
    expect(said('its schedule opens then, and it is begun', at(120))).toBe('In 2 min: its schedule opens then, and it is begun.')
    expect(said('its schedule opens then, and it is begun', at(-5))).toBe('Now: its schedule opens then, and it is begun.')
  })
  it('is nothing where the server says nothing', () => expect(next({ next: null }, NOW)).toBeNull())
})

describe('steps', () => {
  const line = (sequence: number, type: string, reason: string, seconds: number, deploymentId = 'd1') =>
    ({ sequence, type, reason, time: at(seconds), deploymentId }) as EventLine
  const log = [line(1, 'PhaseChanged', 'Applying', 1), line(2, 'PhaseChanged', 'Verifying', 3), line(3, 'PhaseChanged', 'Fetching', 2, 'other')]

  it('are timed by the log of this deployment alone', () => {
    const found = steps({ deploymentId: 'd1', phase: 'Verifying', createdAt: at(0), finishedAt: null }, log)
    expect(found.map((it) => it.state)).toEqual(['done', 'done', 'done', 'done', 'now', 'ahead'])
    expect(found[1]!.from).toBeNull()
    expect(found[3]).toMatchObject({ from: at(1), to: at(3) })
  })
  it('that were gone are behind it while it waits for a person', () => {
    const before = [line(1, 'PhaseChanged', 'Fetching', 1), line(2, 'PhaseChanged', 'Rendering', 2), line(3, 'PhaseChanged', 'AwaitingApproval', 4)]
    const found = steps({ deploymentId: 'd1', phase: 'AwaitingApproval', createdAt: at(0), finishedAt: null }, before)
    expect(found.map((it) => `${it.word} ${it.state}`)).toEqual([
      'Recorded done', 'Fetch done', 'Render done', 'Approval now', 'Apply ahead', 'Verify ahead', 'Converged ahead',
    ])
    const after = [...before, line(4, 'PhaseChanged', 'Applying', 60)]
    const later = steps({ deploymentId: 'd1', phase: 'Applying', createdAt: at(0), finishedAt: null }, after)
    expect(later[3]).toMatchObject({ word: 'Approval', state: 'done', from: at(4), to: at(60) })
    expect(later[4]).toMatchObject({ word: 'Apply', state: 'now' })
  })
  it('that were gone are behind it at a gate, where its phase is that of the beginning', () => {
    const before = [line(1, 'PhaseChanged', 'Fetching', 1), line(2, 'PhaseChanged', 'Rendering', 2), line(3, 'Waiting', 'ScheduleClosed', 3)]
    const found = steps({ deploymentId: 'd1', phase: 'Pending', createdAt: at(0), finishedAt: null }, before)
    expect(found.map((it) => `${it.word} ${it.state}`)).toEqual([
      'Recorded done', 'Fetch done', 'Render done', 'Wait now', 'Apply ahead', 'Verify ahead', 'Converged ahead',
    ])
    expect(found[3]!.from).toBe(at(3))
    expect(steps({ deploymentId: 'd1', phase: 'Pending', createdAt: at(0), finishedAt: null }, []).map((it) => it.state)[0]).toBe('now')
  })
  it('show where it failed, and that it went back', () => {
    const failed = [...log, line(4, 'Failed', 'HealthCheck', 9)]
    const found = steps({ deploymentId: 'd1', phase: 'RolledBack', createdAt: at(0), finishedAt: at(12) }, failed)
    expect(found[4]).toMatchObject({ word: 'Verify', state: 'failed', to: at(9) })
    expect(found[5]).toMatchObject({ word: 'Rolled back', state: 'done', from: at(9), to: at(12) })
  })
  it('do not claim that what is not over has converged', () => {
    expect(steps({ deploymentId: 'd1', phase: 'Applying', createdAt: at(0), finishedAt: null }, log).at(-1)!.state).toBe('ahead')
  })
})

describe('tasks', () => {
  const task = (change: Partial<Task>): Task =>
    ({ taskId: 't', service: 's', slot: 1, node: 'n', state: 'Running', desired: 'Running', current: true, message: '', exitCode: null, createdAt: null, since: null, ...change }) as Task

  it('of the new version stand apart from the old ones, and what ended badly from both', () => {
    const { fresh, old } = sides([
      task({ slot: 2 }),
      task({ slot: 1, state: 'Starting' }),
      task({ current: false }),
      task({ current: false, state: 'Shutdown', desired: 'Shutdown' }),
      task({ state: 'Failed', desired: 'Shutdown' }),
    ])
    expect(fresh.now.map((it) => it.slot)).toEqual([1, 2])
    expect(old.now.length).toBe(1)
    expect(fresh.failed.length).toBe(1)
  })
  it('are counted by what they do when there are too many to draw', () => {
    const many = [...Array.from({ length: 61 }, () => task({})), task({ state: 'Starting' }), task({ state: 'Pending' }), task({ state: 'Failed' })]
    expect(counted(many).map((it) => `${it.count} ${it.word}`)).toEqual(['61 running', '1 starting', '1 waiting', '1 failed'])
    expect(counted([])).toEqual([])
  })
  it('that are told to stop do not look as if they ran', () => {
    expect(cell(task({ desired: 'Shutdown' }))).toBe('stop')
    expect(cell(task({ state: 'Rejected' }))).toBe('bad')
    expect(cell(task({ state: 'Pending' }))).toBe('wait')
  })
})

describe('jobs', () => {
  it('say when they run, and what for they wait', () => {
    expect(jobLine({ name: 'migrate', when: 'Pre', waitsFor: ['db', 'cache'] })).toBe('before the services, waits for db, cache')
    expect(jobLine({ name: 'smoke', when: 'Post', waitsFor: [] })).toBe('after the services')
    expect(jobTime('Post', 'Rollback')).toBe('after the services, on the way back')
    expect(new Set(Object.values(JOB_LOOKS).map((it) => it.word)).size).toBe(5)
  })
})

describe('words', () => {
  it('a change has a line for what was and one for what will be', () => {
    expect(lines({ path: '/A', from: 1, to: { b: 2 } }).map((it) => `${it.sign}${it.text}`)).toEqual(['-1', '+{"b":2}'])
    expect(lines({ path: '/A', from: null, to: '' })).toEqual([{ sign: '+', path: '/A', text: '""' }])
    expect(readable('/Labels/com.example~1x')).toBe('Labels › com.example/x')
  })
  it('sentences begin large and end', () => {
    expect(sentence('service `web` failed')).toBe('Service `web` failed.')
    expect(sentence('cut off in `the mid')).toBe('Cut off in the mid.')
    expect(sentence('')).toBe('')
  })
})

describe('a log', () => {
  it('says who wrote a line, in a hue of its own', () => {
    const web = { service: 'web', slot: 2, node: 'node-1' }
    expect(who(web)).toBe('web.2@node-1')
    expect(who({ service: 'agent', slot: null, node: null })).toBe('agent')
    expect(who({ service: null, slot: null, node: null })).toBe('skep')
    expect(hue(web)).toBe(hue({ ...web, node: 'node-2' }))
    expect(hue({ ...web, service: null })).toBeNull()
  })

  it('shows what a program wrote without its colours', () => {
    expect(plain('\x1b[1;32mok\x1b[0m done\x1b[2K\r')).toBe('ok done')
    expect(plain('\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link')).toBe('text link')
    expect(plain('a\tb\x00c \x1b[')).toBe('a  bc ')
  })

  it('keeps the newest lines', () => {
    expect(extend([1, 2], [3], 5)).toEqual({ lines: [1, 2, 3], gone: 0 })
    expect(extend([1, 2], [3, 4], 3)).toEqual({ lines: [2, 3, 4], gone: 1 })
  })
})

describe('drift', () => {
  const step = (name: string, ...paths: string[]) => ({
    kind: 'Service' as const,
    name,
    action: 'Update' as const,
    reason: 'it differs',
    waitsFor: [],
    changes: paths.map((path) => ({ path, from: 1, to: 2 })),
  })
  it('is told apart from what was asked, field by field', () => {
    const found = ['service `shop_web` differs at /Mode/Replicas, /Labels/a', 'network `shop_net` is missing']
    const network = { kind: 'Network' as const, name: 'shop_net', action: 'Create' as const, reason: '', waitsFor: [], changes: [] }
    const { foreign, asked } = apart([network, step('shop_web', '/Labels/a', '/Image'), step('shop_api', '/Labels/a')], found)
    expect(foreign.map((it) => [it.name, it.changes.map((change) => change.path)])).toEqual([['shop_net', []], ['shop_web', ['/Labels/a']]])
    expect(asked.map((it) => [it.name, it.changes.map((change) => change.path)])).toEqual([['shop_web', ['/Image']], ['shop_api', ['/Labels/a']]])
  })
  it('leaves a plan alone when there is none', () => {
    const steps = [step('shop_web', '/Image')]
    expect(apart(steps, [])).toEqual({ foreign: [], asked: steps })
  })
})

describe('texts of several lines', () => {
  it('are compared line by line, with what is around', () => {
    const from = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].join('\n')
    const found = textDiff(from, from.replace('e', 'E'))
    expect(found.map((it) => it.sign + it.text)).toEqual(['~…', ' c', ' d', '-e', '+E', ' f', ' g'])
  })
  it('are one difference each when they are long, and none when they are the same', () => {
    expect(textDiff('a\nb', 'a\nb')).toEqual([])
    expect(lines({ path: '/Data', from: 'a\nb', to: 'a\nc' }).map((it) => it.sign)).toEqual([' ', '-', '+'])
  })
})

describe('objects as YAML', () => {
  it('read as people write it', () => {
    const value = {
      Name: 'shop_web',
      Labels: { 'a.b/c': 'yes', n: '1.0' },
      Env: ['A=1', 'B=two words', ''],
      Mounts: [{ Type: 'volume', ReadOnly: true }, { Type: 'bind', Options: {} }],
      Text: 'one\n\ntwo: 2\n',
      None: null,
      Empty: [],
      Odd: '- x: [y]',
    }
    expect(yaml(value)).toBe(`Name: shop_web
Labels:
  a.b/c: "yes"
  n: "1.0"
Env:
  - A=1
  - B=two words
  - ""
Mounts:
  - Type: volume
    ReadOnly: true
  - Type: bind
    Options: {}
Text: |
  one

  two: 2
None: null
Empty: []
Odd: "- x: [y]"
`)
  })
})
