// A link that is cut, or falls silent, while the server lives; a token that is revoked; states that are hard to come by; and that
// nothing moves by itself. On a simulated Swarm: it is the page and its link that are looked at.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { after, before, describe } from 'node:test'
import { createInterface } from 'node:readline'
import { binary } from './skep.mjs'
import { going, signedIn, story } from './steps.mjs'

/** Stands between the browser and the server, byte for byte. */
class Wire {
  #pairs = new Set()
  #state = 'open'
  #server = createServer((near) => {
    if (this.#state === 'cut') return near.destroy()
    const far = connect(this.to, '127.0.0.1')
    const pair = [near, far]
    this.#pairs.add(pair)
    for (const socket of pair) {
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#pairs.delete(pair)
        pair.forEach((it) => it.destroy())
      })
    }
    if (this.#state === 'held') return
    near.pipe(far).pipe(near)
  })

  constructor(to) {
    this.to = to
  }

  async open() {
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done))
    return `http://127.0.0.1:${this.#server.address().port}`
  }

  /** Every connection ends, and none is made. */
  cut() {
    this.#state = 'cut'
    this.#end()
  }

  /** Connections stay, and nothing comes through: neither side is told. */
  hold() {
    this.#state = 'held'
    for (const [near, far] of this.#pairs) {
      near.unpipe(far)
      far.unpipe(near)
    }
  }

  mend() {
    this.#state = 'open'
    this.#end()
  }

  close() {
    this.#server.close()
    this.cut()
  }

  #end() {
    for (const pair of this.#pairs) pair.forEach((socket) => socket.destroy())
  }
}

let server
let direct
let token
let wire
let browser
let page
let go
const it = story()

async function start() {
  server = spawn(binary, ['simulate', '--serve', '127.0.0.1:0', '--stacks', '5', '--changes', '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: server.stdout })) {
    token ??= /^token: (\w+)/.exec(line)?.[1]
    direct = /listening on (http:\S+)/.exec(line)?.[1]
    if (direct) return
  }
  throw new Error('the simulated server did not start')
}

const ask = async (query, variables = {}) => {
  const answer = await fetch(`${direct}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  })
  const { data, errors } = await answer.json()
  if (errors) throw new Error(JSON.stringify(errors))
  return data
}
const suspend = (reason) => ask('mutation($r: String!) { suspendStack(input: {stack: {name: "stack-0001"}, reason: $r}) { userErrors { message } } }', { r: reason })
const resume = () => ask('mutation { resumeStack(input: {stack: {name: "stack-0001"}}) { userErrors { message } } }')
const live = () => page.locator('[data-link=live]').waitFor({ timeout: 60_000 })

describe('the link', { concurrency: false }, () => {
  before(async () => {
    await start()
    wire = new Wire(Number(new URL(direct).port))
    const url = await wire.open()
    browser = await signedIn(url, token)
    page = browser.page
    go = going(page)
  })
  after(async () => {
    await browser?.close()
    wire?.close()
    server?.kill('SIGINT')
  })

  it('is cut and mended while the server lives: each event is there once', async () => {
    await go('/activity')
    await page.locator('.events li').first().waitFor()
    wire.cut()
    await page.locator('[data-link=lost]').waitFor()
    for (const reason of ['one', 'two', 'three']) {
      await suspend(reason)
      await resume()
    }
    const all = (await ask('{ events(first: 200) { edges { node { sequence } } } }')).events.edges.map((edge) => edge.node.sequence)
    wire.mend()
    await live()
    await page.waitForFunction((last) => Number(document.querySelector('.events li')?.dataset.sequence) >= last, all.at(-1))
    const shown = await page.locator('.events li').evaluateAll((rows) => rows.map((row) => Number(row.dataset.sequence)).reverse())
    assert.deepEqual(shown.slice(0, all.length), all)
    assert.equal(new Set(shown).size, shown.length)
  })

  it('falls silent: soon the page says that it is cut off', async () => {
    wire.hold()
    const began = Date.now()
    await page.locator('[data-link=lost]').waitFor({ timeout: 40_000 })
    // Ten seconds until it asks, eight until it gives up.
    assert.ok(Date.now() - began < 30_000, `${Date.now() - began} ms`)
    await page.getByText(/Disconnected since/).waitFor()
    wire.mend()
    await live()
  })

  it('nothing moves by itself: not when a view is opened, and not when a phase changes', async () => {
    const moved = {}
    for (const [path, there] of [
      ['/', '.row'],
      ['/stacks/default/stack-0001', '.conditions li'],
      ['/stacks/default/stack-0001?tab=history', '.history li'],
      ['/activity', '.events li'],
      ['/environments', '.environment'],
      ['/credentials', '.empty'],
      ['/tokens', '.empty'],
    ]) {
      await page.goto(new URL(path, page.url()).href)
      await page.locator(there).first().waitFor()
      await live()
      const by = await browser.shift()
      if (by >= 0.02) moved[path] = by
    }
    assert.deepEqual(moved, {})
    await go('/')
    await page.locator('.row').first().waitFor()
    await browser.shift()
    await suspend('it moves nothing')
    await page.locator('[data-stack=stack-0001] [data-phase=Suspended]').waitFor()
    const by = await browser.shift()
    assert.ok(by < 0.02, `the list moved by ${by}`)
    await resume()
  })

  it('what is away, late, wrong or not there yet is accessible too', async () => {
    await go('/deployments/nothing-like-it')
    await page.getByText('There is no such deployment').waitFor()
    await browser.inspect('no-deployment')
    for (const [path, text] of [
      ['/catalogs', 'No catalog is followed'],
      ['/notifiers', 'Nobody outside is told'],
    ]) {
      await go(path)
      await page.getByText(text).waitFor()
      await browser.inspect(`${path.slice(1)}-empty`)
    }
    // The server says no.
    await page.route('**/graphql', (route) =>
      /query Tokens/.test(route.request().postData() ?? '')
        ? route.fulfill({ json: { errors: [{ message: 'the store does not answer', extensions: { code: 'INTERNAL' } }] } })
        : route.fallback(),
    )
    await go('/tokens')
    await page.locator('.trouble', { hasText: 'the store does not answer' }).waitFor()
    await browser.inspect('api-error')
    await page.unroute('**/graphql')
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByText('There is no token but the admin’s own').waitFor()
    // The server takes its time.
    let answer
    const waited = new Promise((done) => (answer = done))
    await page.route('**/graphql', async (route) => {
      if (/query Hooks/.test(route.request().postData() ?? '')) await waited
      return route.fallback()
    })
    await go('/hooks')
    await page.locator('.bone').first().waitFor()
    await browser.inspect('loading')
    answer()
    await page.getByText('No hook is declared').waitFor()
    await page.unroute('**/graphql')
  })

  it('a token that is revoked leads to the sign-in view, which says why', async () => {
    const { createToken } = await ask('mutation { createToken(input: {name: "guest", role: Viewer}) { value userErrors { message } } }')
    await page.evaluate((it) => sessionStorage.setItem('skep.token', it), createToken.value)
    await page.goto(new URL('/', page.url()).href)
    await page.locator('.row').first().waitFor()
    await ask('mutation { revokeToken(input: {name: "guest"}) { userErrors { message } } }')
    await page.getByText('The server does not accept this token any more').waitFor({ timeout: 45_000 })
    await page.getByLabel('Token').waitFor()
    await browser.inspect('revoked')
  })

  it('made no error, and asked nobody but its server', () => assert.deepEqual(browser.faults, []))
})
