// The tutorial's story in a real browser, against the real server, on the real Swarm. It waits for what the page shows.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it as test } from 'node:test'
import { Browser } from './browser.mjs'
import { injection, ODD } from './injection.mjs'
import { docker, manifest, Skep } from './skep.mjs'

const SHOP = 'shop-page'
const BLOG = 'blog-page'
const WIKI = 'wiki-page'
const MAIL = 'mail-page'
const skep = new Skep()
let browser
let page

const go = async (path) => {
  await page.evaluate((to) => {
    history.pushState(null, '', to)
    dispatchEvent(new PopStateEvent('popstate'))
  }, path)
}
/** A field of the dialog, by what stands over it: a hint below it is part of its name. */
const field = (name) =>
  page.getByRole('dialog').locator('.field', { has: page.getByText(name, { exact: true }) }).locator('input, select, textarea')
let broken = false
/** A step of the story. What comes after one that failed says nothing, and fails at once. */
const it = (name, step) =>
  test(name, async () => {
    assert.ok(!broken, 'a step before failed')
    broken = true
    await step()
    broken = false
  })
const stackPath = `/stacks/default/${SHOP}`

describe('the page', { concurrency: false }, () => {
  before(async () => {
    await skep.start()
    browser = await Browser.open(skep.url)
    page = browser.page
  })
  after(async () => {
    await browser?.close()
    await skep.clean([SHOP, BLOG, WIKI, MAIL, ODD])
  })

  it('is served without a token, closed to others, small and compressed', async () => {
    const answer = await fetch(skep.url, { headers: { 'accept-encoding': 'br' } })
    assert.equal(answer.status, 200)
    assert.match(answer.headers.get('content-security-policy'), /default-src 'none'; script-src 'self'; style-src 'self';/)
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    assert.equal(answer.headers.get('referrer-policy'), 'no-referrer')
    assert.equal(answer.headers.get('content-encoding'), 'br')
    assert.equal(answer.headers.get('cache-control'), 'no-cache')
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(await answer.text())[1]
    const code = await fetch(skep.url + script, { headers: { 'accept-encoding': 'gzip' } })
    assert.match(code.headers.get('cache-control'), /immutable/)
    assert.equal(code.headers.get('content-encoding'), 'gzip')
    assert.ok(Number(code.headers.get('content-length')) < 60_000, 'the script is 60 kB or more')
    assert.equal((await fetch(`${skep.url}/stacks/default/any`)).status, 200)
    for (const path of ['/api/v1/nothing', '/hooks/nothing', '/assets/nothing.js', '/nothing', '/stacks/x']) {
      const other = await fetch(skep.url + path)
      assert.doesNotMatch(await other.text(), /<!doctype html>/i, path)
      assert.ok(other.status >= 400, path)
    }
  })

  it('asks for a token, and refuses a wrong one', async () => {
    await page.goto(skep.url)
    await page.getByLabel('Token').fill('not-the-token-at-all')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('this token is not accepted').waitFor()
    await browser.inspect('sign-in')
    await page.getByLabel('Token').fill(skep.token)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('The hive is empty').waitFor()
    await page.locator('[data-link=live]').waitFor()
    assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((it) => /token/.test(it)).length), 0)
  })

  it('an empty install says what to do, and takes a first stack', async () => {
    await browser.inspect('empty')
    await page.getByRole('button', { name: /Declare a stack here/ }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Manifest').fill('kind: Stack\nname: x\nbogus: 1\n')
    await dialog.getByRole('button', { name: 'Show what changes' }).click()
    await dialog.getByText(/line 3/).waitFor()
    await dialog.getByLabel('Manifest').fill(manifest(SHOP, '1'))
    await dialog.getByRole('button', { name: 'Show what changes' }).click()
    await dialog.getByText('is new').waitFor()
    await dialog.getByRole('button', { name: 'Declare', exact: true }).click()
    await browser.phase('Progressing')
    await browser.shot('stack-progressing-light')
    await browser.phase('Converged')
    assert.equal(new URL(page.url()).pathname, stackPath)
    // Every task of each service, with its node.
    await page.locator('[data-service=web] .fresh .task').nth(1).waitFor()
    assert.equal(await page.locator('[data-service=worker] .fresh .task').count(), 1)
    assert.match(await page.locator('[data-service=worker] .fresh .task').innerText(), /· running/)
  })

  it('shows the plan before it deploys, and then the tasks as they are replaced', async () => {
    await page.getByRole('button', { name: 'Deploy…' }).click()
    const dialog = page.getByRole('dialog')
    assert.ok(await dialog.getByRole('button', { name: 'Deploy', exact: true }).isDisabled(), 'no plan, no deployment')
    await dialog.getByLabel('Image of web').fill('2')
    await dialog.getByRole('button', { name: 'Show the plan' }).click()
    await dialog.locator('.add code', { hasText: /skep-example:2$/ }).first().waitFor()
    await browser.inspect('plan')
    await dialog.getByLabel('Reason').fill('the second version')
    await dialog.getByRole('button', { name: 'Deploy', exact: true }).click()
    await page.waitForURL(/\/deployments\//)
    await page.getByRole('link', { name: SHOP }).first().click()
    await page.locator('[data-service=web] .old .task').first().waitFor()
    await page.locator('[data-service=web] .fresh .task').first().waitFor()
    await browser.shot('converging-light')
    await page.emulateMedia({ colorScheme: 'dark' })
    await browser.shot('converging-dark')
    await page.emulateMedia({ colorScheme: 'light' })
    await browser.phase('Converged')
    await browser.inspect('stack')
  })

  it('a bad version goes back by itself, and the page says why', async () => {
    await page.getByRole('button', { name: 'Deploy…' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Image of web').fill('broken')
    await dialog.getByRole('button', { name: 'Show the plan' }).click()
    await dialog.locator('.add code', { hasText: /skep-example:broken$/ }).first().waitFor()
    await dialog.getByRole('button', { name: 'Deploy', exact: true }).click()
    await page.waitForURL(/\/deployments\//)
    await browser.phase('RolledBack', 90_000)
    await page.getByRole('heading', { name: /Why it failed: health check/ }).waitFor()
    assert.match(await page.locator('.evidence').innerText(), /service\s+web/i)
    await browser.inspect('evidence')
    await go(stackPath)
    await browser.phase('RolledBack')
    assert.match(await page.locator('#why').innerText(), /held.*the hold is released/is)
    await page.getByRole('link', { name: 'Read why it failed' }).waitFor()
    await browser.inspect('rolled-back')
  })

  it('every tab says its part', async () => {
    for (const [tab, text] of [
      ['changes', /skep-example:broken/],
      ['history', /last good/],
      ['compare', /skep-example:broken/],
      ['events', /rolled back/i],
      ['rendered', /Image: skep-example:broken/],
      ['spec', /Compose text/],
    ]) {
      await go(`${stackPath}?tab=${tab}`)
      await page.locator('.panel', { hasText: text }).first().waitFor()
      await browser.inspect(tab)
    }
  })

  it('compares any two deployments, in the address', async () => {
    await go(`${stackPath}?tab=compare`)
    const from = page.getByLabel('From')
    const oldest = await from.locator('option').last().getAttribute('value')
    await from.selectOption(oldest)
    await page.locator('[data-compared] .del', { hasText: 'skep-example:1' }).first().waitFor()
    assert.match(page.url(), new RegExp(`from=${oldest}`))
    await page.getByRole('button', { name: 'Swap' }).click()
    await page.locator('[data-compared] .add', { hasText: 'skep-example:1' }).first().waitFor()
    await page.reload()
    await page.locator('[data-compared] .add', { hasText: 'skep-example:1' }).first().waitFor()
  })

  it('the log is live, of all or of one service, and stands still under the reader', async () => {
    await go(`${stackPath}?tab=logs`)
    const lines = (service) => page.locator(`.log-lines [data-service=${service}]`)
    await lines('skep').first().waitFor()
    await lines('worker').first().waitFor()
    await page.locator('.log-state', { hasText: /lines, live/ }).waitFor()
    // The worker writes every few seconds.
    const before = await lines('worker').count()
    await lines('worker').nth(before).waitFor()
    await browser.inspect('logs')
    // It stands still when it is told to, and is taken along as a file.
    await page.getByRole('button', { name: 'Pause' }).click()
    const stood = await lines('worker').count()
    await page.locator('.log-more', { hasText: /new line/ }).waitFor()
    assert.equal(await lines('worker').count(), stood)
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()])
    assert.equal(file.suggestedFilename(), 'skep.log')
    const saved = readFileSync(await file.path(), 'utf8').trimEnd().split('\n')
    assert.equal(saved.length, await page.locator('.log-lines > p[data-service]').count())
    assert.ok(saved.some((line) => /^\d{4}-\S+ worker\.1@\S+: /.test(line)), saved.at(-1))
    await page.getByRole('button', { name: 'Go on' }).click()
    await lines('worker').nth(stood).waitFor()
    await page.setViewportSize({ width: 1280, height: 300 })
    // To the end first: what does not move tells nothing.
    await page.locator('.log-lines').evaluate(async (list) => {
      const frame = () => new Promise((done) => requestAnimationFrame(done))
      list.scrollTop = list.scrollHeight
      await frame().then(frame)
      list.scrollTop = 0
    })
    await page.locator('.log-more', { hasText: /new line/ }).waitFor()
    assert.equal(await page.locator('.log-lines').evaluate((list) => list.scrollTop), 0)
    await page.locator('.log-more').click()
    await page.locator('.log-more').waitFor({ state: 'detached' })
    await page.setViewportSize({ width: 1280, height: 860 })
    await page.getByLabel('Service').selectOption('web')
    await lines('web').filter({ hasText: /this is version/ }).first().waitFor()
    assert.equal(await lines('skep').count() + (await lines('worker').count()), 0)
    await page.getByLabel('Find').fill('reading')
    await lines('web').filter({ hasText: /this is version/ }).first().waitFor({ state: 'detached' })
    await lines('web').filter({ hasText: /reading/ }).first().waitFor()

    // What the version that failed wrote is there still.
    await go(stackPath)
    await page.getByRole('link', { name: 'Read why it failed' }).click()
    await page.getByText('What Skep did and what its services wrote').click()
    await lines('web').filter({ hasText: /this is version broken/ }).first().waitFor()
    await page.locator('.log-state', { hasText: /ended/ }).waitFor()
  })

  it('the list has the worst first, with counts that filter, all in the address', async () => {
    await skep.declare([manifest(BLOG, '1', 1), manifest(MAIL, '3', 1), manifest(WIKI, 'absent', 1)].join('---\n'))
    await go('/')
    await page.locator(`[data-stack=${WIKI}] .phase[data-phase=Failed]`).waitFor({ timeout: 60_000 })
    await page.locator(`[data-stack=${MAIL}] .phase[data-phase=Converged]`).waitFor({ timeout: 60_000 })
    await skep.ask(`mutation { suspendStack(input: {stack: {name: "${MAIL}"}, reason: "the mail moves house tonight"}) { userErrors { message } } }`)
    await page.locator(`[data-stack=${MAIL}] .phase[data-phase=Suspended]`).waitFor()
    await page.locator(`[data-stack=${BLOG}] .phase[data-phase=Converged]`).waitFor({ timeout: 60_000 })
    const order = await page.locator('.row').evaluateAll((rows) => rows.map((row) => row.dataset.stack))
    assert.deepEqual(order, [WIKI, SHOP, MAIL, BLOG])
    await browser.inspect('stacks')
    await page.getByRole('button', { name: /1 Converged/ }).click()
    await page.locator(`[data-stack=${SHOP}]`).waitFor({ state: 'detached' })
    assert.equal(new URL(page.url()).search, '?phase=Converged')
    await page.getByLabel('Find a stack').fill('nothing like it')
    await page.getByText('No stack fits').waitFor()
    await browser.inspect('no-match')
    await page.getByRole('button', { name: 'Clear the filter' }).click()
    await page.locator(`[data-stack=${SHOP}]`).waitFor()
    await page.goto(`${skep.url}/?q=${BLOG}`)
    await page.locator(`[data-stack=${BLOG}]`).waitFor()
    assert.equal(await page.locator('.row').count(), 1)
  })

  it('what stands under the hand stays where it is', async () => {
    await go('/')
    await page.locator(`[data-stack=${SHOP}]`).hover()
    const top = () => page.locator(`[data-stack=${SHOP}]`).evaluate((row) => row.getBoundingClientRect().top)
    const before = await top()
    // Suspended it belongs further down; its row says so where it is.
    await skep.ask(`mutation { suspendStack(input: {stack: {name: "${SHOP}"}, reason: "hand"}) { userErrors { message } } }`)
    await page.locator(`[data-stack=${SHOP}] .phase[data-phase=Suspended]`).waitFor()
    assert.equal(await top(), before)
    await page.mouse.move(2, 2)
    await skep.ask(`mutation { resumeStack(input: {stack: {name: "${SHOP}"}}) { userErrors { message } } }`)
    await page.locator(`[data-stack=${SHOP}] .phase[data-phase=RolledBack]`).waitFor()
  })

  it('in the list, what failed has its difference one click away, and a way back two', async () => {
    await go('/')
    await page.getByRole('link', { name: `What changed in ${SHOP}` }).click()
    await page.locator('[data-compared] .add', { hasText: /skep-example:broken/ }).first().waitFor()
    await go('/')
    await page.getByRole('button', { name: `Roll back… ${SHOP}` }).click()
    const dialog = page.getByRole('dialog')
    await dialog.locator('.add code', { hasText: /skep-example:1$/ }).waitFor()
    // The second click would send it; the next step goes back by the history.
    assert.ok(await dialog.getByRole('button', { name: 'Roll back', exact: true }).isEnabled())
    await dialog.getByRole('button', { name: 'Leave it' }).click()
  })

  it('rolls back to a chosen version with the difference shown, and unpins', async () => {
    await go(`${stackPath}?tab=history`)
    await page.getByRole('button', { name: 'Roll back to this…' }).last().click()
    const dialog = page.getByRole('dialog')
    await dialog.locator('.add code', { hasText: /skep-example:1$/ }).waitFor()
    await dialog.getByLabel('Reason').fill('until it is mended')
    await browser.inspect('rollback')
    await dialog.getByRole('button', { name: 'Roll back', exact: true }).click()
    await page.waitForURL(/\/deployments\//)
    await browser.phase('Converged')
    await go(stackPath)
    await page.getByText(/Pinned by admin.*until it is mended/).waitFor()
    await page.getByRole('button', { name: 'Unpin…' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Unpin', exact: true }).click()
    await page.locator('.note', { hasText: /Pinned by admin/ }).waitFor({ state: 'detached' })
    // What was broken stays held: taking the pin away is no word for it.
    await browser.phase('RolledBack')
    await page.getByRole('button', { name: 'Release hold…' }).waitFor()
  })

  it('a mended version is deployed, and the hold of the broken one is released', async () => {
    await browser.phase('RolledBack')
    await page.getByRole('button', { name: 'Deploy…' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Image of web').fill('3')
    await dialog.getByRole('button', { name: 'Show the plan' }).click()
    await dialog.locator('.add code', { hasText: /skep-example:3$/ }).first().waitFor()
    await dialog.getByLabel('Reason').fill('it is mended')
    await dialog.getByRole('button', { name: 'Deploy', exact: true }).click()
    await page.waitForURL(/\/deployments\//)
    await browser.phase('Converged')
    await go(stackPath)
    await browser.phase('Converged')
    assert.doesNotMatch(await page.locator('#why').innerText(), /held|pinned/i)
    await page.locator('.note', { hasText: /Pinned by admin/ }).waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Release hold…' }).click()
    await dialog.getByRole('button', { name: 'Release the hold', exact: true }).click()
    await page.locator('.versions dt', { hasText: 'Held' }).waitFor({ state: 'detached' })
    await browser.phase('Converged')
  })

  it('suspends with a reason, and resumes', async () => {
    await page.getByRole('button', { name: 'More actions' }).click()
    await page.getByRole('button', { name: 'Suspend…' }).click()
    const dialog = page.getByRole('dialog')
    assert.ok(await dialog.getByRole('button', { name: 'Suspend', exact: true }).isDisabled(), 'no reason, no suspension')
    await dialog.getByLabel('Reason').fill('moving house')
    await dialog.getByRole('button', { name: 'Suspend', exact: true }).click()
    await browser.phase('Suspended')
    await page.getByText(/Suspended by admin.*moving house/).waitFor()
    await page.getByRole('button', { name: 'Resume…' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Resume', exact: true }).click()
    await page.locator('.head .phase[data-phase=Suspended]').waitFor({ state: 'detached' })
  })

  it('says when it is cut off, locks actions, comes back, and loses and doubles no event', async () => {
    // A page that was open keeps what it had.
    await go(stackPath)
    await page.locator('[data-service=web] .task').first().waitFor()
    await skep.stop()
    await page.getByText(/Disconnected since/).waitFor()
    await page.locator('.stale').waitFor()
    for (const name of ['Deploy…', 'Roll back…', 'More actions']) {
      assert.ok(await page.getByRole('button', { name }).isDisabled(), `${name} can be used`)
    }
    assert.equal(await page.locator('[data-service=web]').count(), 1)
    await browser.inspect('disconnected')
    await go('/')
    await page.locator(`[data-stack=${SHOP}]`).waitFor()
    // One that was not says so.
    await go('/activity')
    await page.getByText('Not here yet').waitFor()
    await skep.start()
    await page.locator('[data-link=live]').waitFor({ timeout: 45_000 })
    await page.locator('.banner').waitFor({ state: 'hidden' })
    await page.locator('.events li').nth(10).waitFor()

    // The log goes on where it was: events while nobody looked come too, and none twice.
    const shown = () => page.locator('.events li').evaluateAll((all) => all.map((it) => Number(it.dataset.sequence)))
    const before = await shown()
    await skep.stop()
    await page.locator('[data-link=lost]').waitFor()
    await skep.start()
    await skep.ask(`mutation { reconcileStack(input: {stack: {name: "${BLOG}"}}) { userErrors { message } } }`)
    await page.locator('[data-link=live]').waitFor({ timeout: 45_000 })
    await page.waitForFunction((most) => Number(document.querySelector('.events li').dataset.sequence) > most, before[0])
    const known = async () => (await skep.ask('{ events(first: 200) { edges { node { sequence } } } }')).events.edges.map((it) => it.node.sequence)
    const all = await known()
    await page.waitForFunction((last) => Number(document.querySelector('.events li').dataset.sequence) >= last, all.at(-1))
    assert.deepEqual((await shown()).reverse().slice(0, all.length), all)
    await browser.inspect('activity')
  })

  it('environments, and an address with nothing behind it', async () => {
    await go('/environments')
    await page.getByRole('heading', { name: /default/ }).waitFor()
    await page.getByText('this Skep writes here').waitFor()
    await browser.inspect('environments')
    await go('/deployments/nothing-like-it')
    await page.getByText('There is no such deployment').waitFor()
  })

  it('credentials: values are typed in, and never shown', async () => {
    await go('/credentials')
    await page.getByText('No credential is declared').waitFor()
    await page.getByRole('button', { name: 'New credential…' }).click()
    const dialog = page.getByRole('dialog')
    await field('Name').fill('shop-git')
    await dialog.getByLabel('May go to').fill('example.org')
    await field('token').fill('hunter2hunter2')
    await browser.inspect('credential-new')
    await dialog.getByRole('button', { name: 'Seal it' }).click()
    await page.getByRole('heading', { name: /shop-git/ }).waitFor()
    assert.doesNotMatch(await page.content(), /hunter2/)
    await browser.inspect('credentials')
    await page.getByRole('button', { name: 'Other values…' }).click()
    await field('username').fill('git')
    await dialog.getByRole('button', { name: 'Change it' }).click()
    await page.getByText('username: •••').waitFor()
  })

  it('hooks: one is made, a delivery comes, is tried out and done again', async () => {
    await go('/hooks')
    await page.getByText('No hook is declared').waitFor()
    await browser.inspect('hooks-empty')
    await page.getByRole('button', { name: 'New hook…' }).click()
    const dialog = page.getByRole('dialog')
    const secret = 'a-secret-that-is-typed-in'
    await field('Name').fill('ci')
    await dialog.getByLabel('Sent by').selectOption('Generic')
    await field('Secret').fill(secret)
    await dialog.getByLabel('When').fill('branch == "main"')
    await field('Stacks').fill(BLOG)
    await dialog.getByLabel('Set the ref to').fill('')
    await browser.inspect('hook-new')
    await dialog.getByRole('button', { name: 'Declare it' }).click()
    await page.getByText('Nothing has come yet').waitFor()
    assert.doesNotMatch(await page.content(), new RegExp(secret))
    const body = JSON.stringify({ branch: 'main' })
    const sent = await fetch(`${skep.url}/hooks/ci`, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'x-skep-delivery': 'd-1',
        'x-skep-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
      },
    })
    assert.equal(sent.status, 202)
    await page.reload()
    await page.locator('.lines li', { hasText: BLOG }).waitFor()
    await browser.inspect('hooks')
    await page.getByRole('button', { name: 'Try a payload…' }).click()
    await dialog.getByLabel('Payload').fill('{"branch":"other"}')
    await dialog.getByRole('button', { name: 'Try it' }).click()
    await dialog.getByText(/rule 1 of .*it is not/).waitFor()
    await dialog.getByLabel('Payload').fill(body)
    await dialog.getByRole('button', { name: 'Try it' }).click()
    await dialog.getByText(`${BLOG} would be looked at again`).waitFor()
    await browser.inspect('hook-try')
    await dialog.getByRole('button', { name: 'Close' }).click()
    await page.getByRole('button', { name: 'Redeliver…' }).click()
    await dialog.getByRole('button', { name: 'Redeliver', exact: true }).click()
    await page.getByText(/again by admin/).waitFor()
    await page.getByRole('button', { name: 'Delete…' }).click()
    await dialog.getByRole('button', { name: 'Delete it' }).click()
    await page.getByText('No hook is declared').waitFor()
  })

  it('catalogs: one is followed, and says what is broken', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'skep-catalog-'))
    const git = (...args) => execFileSync('git', ['-C', folder, '-c', 'user.name=Ada', '-c', 'user.email=ada@example.org', ...args])
    try {
      git('init', '-q', '-b', 'main')
      writeFileSync(join(folder, 'broken.yml'), 'kind: Stack\nnme: shop\n')
      git('add', '.')
      git('commit', '-q', '-m', 'A file that is broken')
      await go('/catalogs')
      await page.getByText('No catalog is followed').waitFor()
      await page.getByRole('button', { name: 'New catalog…' }).click()
      const dialog = page.getByRole('dialog')
      await field('Name').fill('platform')
      await field('Repository').fill(`file://${folder}`)
      await browser.inspect('catalog-new')
      await dialog.getByRole('button', { name: 'Follow it' }).click()
      await page.locator('.phase', { hasText: 'Broken files' }).waitFor()
      await page.getByText('broken.yml:2').waitFor()
      await browser.inspect('catalogs')
      await page.getByRole('button', { name: 'Look now…' }).click()
      await dialog.getByRole('button', { name: 'Look now', exact: true }).click()
      await dialog.waitFor({ state: 'detached' })
      await page.getByRole('button', { name: 'Delete…' }).click()
      await dialog.getByRole('button', { name: 'Delete it' }).click()
      await page.getByText('No catalog is followed').waitFor()
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('notifiers: one is made, tried out and deleted', async () => {
    const heard = []
    const receiver = createServer((request, response) => {
      request.on('data', (data) => heard.push(String(data)))
      request.on('end', () => response.end('ok'))
    })
    await new Promise((done) => receiver.listen(0, '127.0.0.1', done))
    try {
      await go('/notifiers')
      await page.getByText('Nobody outside is told').waitFor()
      await page.getByRole('button', { name: 'New notifier…' }).click()
      const dialog = page.getByRole('dialog')
      await field('Name').fill('team')
      await field('Address').fill(`http://127.0.0.1:${receiver.address().port}/a-secret-path`)
      await dialog.getByLabel('failed', { exact: true }).check()
      await browser.inspect('notifier-new')
      await dialog.getByRole('button', { name: 'Declare it' }).click()
      await page.getByRole('heading', { name: /team/ }).waitFor()
      assert.doesNotMatch(await page.content(), /a-secret-path/)
      await page.getByRole('button', { name: 'Send a test' }).click()
      await page.getByText(/^Taken, 200/).waitFor()
      assert.equal(heard.length > 0, true)
      await browser.inspect('notifiers')
      await page.getByRole('button', { name: 'Delete…' }).click()
      await dialog.getByRole('button', { name: 'Delete it' }).click()
      await page.getByText('Nobody outside is told').waitFor()
    } finally {
      receiver.close()
    }
  })

  it('tokens: one is shown once, lets in, and is revoked', async () => {
    await go('/tokens')
    await page.getByText('There is no token but the admin’s own').waitFor()
    await page.getByRole('button', { name: 'New token…' }).click()
    const dialog = page.getByRole('dialog')
    await field('Name').fill('ci')
    await field('Role').selectOption('Viewer')
    await browser.inspect('token-new')
    await dialog.getByRole('button', { name: 'Make it' }).click()
    await dialog.getByText('It is shown this once').waitFor()
    const value = (await dialog.locator('.copy pre').innerText()).trim()
    const knock = () => fetch(`${skep.url}/api/v1/stacks`, { headers: { authorization: `Bearer ${value}` } })
    assert.equal((await knock()).status, 200)
    await dialog.getByRole('button', { name: 'I have it' }).click()
    await page.getByRole('row', { name: /ci.*Viewer/ }).waitFor()
    assert.equal((await page.content()).includes(value), false)
    await browser.inspect('tokens')
    await page.getByRole('button', { name: 'Revoke ci' }).click()
    await dialog.getByRole('button', { name: 'Revoke it' }).click()
    await page.getByText('There is no token but the admin’s own').waitFor()
    assert.equal((await knock()).status, 401)
  })

  it('is used by keyboard alone', async () => {
    await go('/environments')
    await page.locator('body').press('g')
    await page.keyboard.press('s')
    await page.locator(`[data-stack=${BLOG}]`).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type(BLOG)
    await page.locator(`[data-stack=${SHOP}]`).waitFor({ state: 'detached' })
    await page.keyboard.press('Escape')
    await page.locator(`[data-stack=${SHOP}]`).waitFor()
    await page.keyboard.press('?')
    await page.getByRole('dialog', { name: 'Keys' }).waitFor()
    assert.deepEqual(await browser.axe(), [])
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.keyboard.press('j')
    const first = await page.evaluate(() => document.activeElement.closest('li').dataset.stack)
    await page.keyboard.press('Enter')
    await page.waitForURL(`**/stacks/default/${first}`)
    await page.locator('.tabs').waitFor()
    await page.keyboard.press(']')
    await page.waitForURL(/tab=changes/)
    await page.keyboard.press('[')
    await page.waitForFunction(() => location.search === '')
    // By Tab to the first action, and out of its dialog again.
    await page.getByRole('button', { name: 'Deploy…' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Deploy…')
    await page.keyboard.press('d')
    await page.waitForURL(/tab=changes/)
    await page.keyboard.press('l')
    await page.waitForURL(/tab=logs/)
  })

  it('by keys alone a version is deployed, taken back and suspended', async () => {
    const focused = () => page.evaluate(() => (document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim())
    /** On with Tab until this has the focus; what cannot be reached is an error. */
    const tabTo = async (name) => {
      const seen = []
      for (let steps = 0; steps < 60; steps++) {
        const at = await focused()
        if (at === name) return
        seen.push(at.slice(0, 40))
        await page.keyboard.press('Tab')
      }
      throw new Error(`Tab never comes to ${name}: ${seen.join(' | ')}`)
    }
    const fieldTo = async (name) => {
      for (let steps = 0; steps < 60; steps++) {
        if (await page.evaluate((name) => document.activeElement.closest('.field')?.querySelector('span')?.textContent === name, name)) return
        await page.keyboard.press('Tab')
      }
      throw new Error(`Tab never comes to the field ${name}`)
    }
    const dialog = page.getByRole('dialog')
    await go(`/stacks/default/${BLOG}`)
    await browser.phase('Converged')
    await tabTo('Deploy…')
    await page.keyboard.press('Enter')
    await dialog.waitFor()
    await fieldTo('Image of web')
    await page.keyboard.type('2')
    await tabTo('Show the plan')
    await page.keyboard.press('Enter')
    await dialog.locator('.add code', { hasText: /skep-example:2$/ }).first().waitFor()
    await tabTo('Deploy')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/deployments\//)
    await browser.phase('Converged')

    await go(`/stacks/default/${BLOG}`)
    await browser.phase('Converged')
    await page.keyboard.press('r')
    await dialog.waitFor()
    await fieldTo('Reason')
    await page.keyboard.type('by keys')
    await tabTo('Roll back')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/deployments\//)
    await browser.phase('Converged')

    await go(`/stacks/default/${BLOG}`)
    await page.getByText(/Pinned by admin.*by keys/).waitFor()
    await tabTo('More actions')
    await page.keyboard.press('Enter')
    await tabTo('Suspend…')
    await page.keyboard.press('Enter')
    await fieldTo('Reason')
    await page.keyboard.type('a keyboard')
    await tabTo('Suspend')
    await page.keyboard.press('Enter')
    await browser.phase('Suspended')
    await skep.ask(`mutation { resumeStack(input: {stack: {name: "${BLOG}"}}) { userErrors { message } } }`)
    await skep.ask(`mutation { unpinStack(input: {stack: {name: "${BLOG}"}}) { userErrors { message } } }`)
    await browser.phase('Converged')
  })

  it('keeps the theme that was chosen', async () => {
    const color = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    await page.emulateMedia({ colorScheme: 'dark' })
    const dark = await color()
    await page.getByRole('button', { name: /Theme/ }).click()
    const light = await color()
    assert.notEqual(light, dark)
    await page.reload()
    await page.locator('.bar').waitFor()
    assert.equal(await color(), light)
    await page.getByRole('button', { name: /Theme/ }).click()
    await page.getByRole('button', { name: /Theme/ }).click()
    await page.emulateMedia({ colorScheme: 'light' })
  })

  it('the live data contract: a snapshot first, then changes by sequence, and on from there', async () => {
    const touch = `mutation { reconcileStack(input: {stack: {name: "${BLOG}"}}) { userErrors { message } } }`
    const listen = (after, count) =>
      page.evaluate(
        ([url, token, after, count]) =>
          new Promise((done, failed) => {
            const socket = new WebSocket(url, 'graphql-transport-ws')
            const found = []
            setTimeout(() => failed(new Error(`only ${JSON.stringify(found)}`)), 15_000)
            socket.onopen = () => socket.send(JSON.stringify({ type: 'connection_init', payload: { Authorization: `Bearer ${token}` } }))
            socket.onmessage = ({ data }) => {
              const message = JSON.parse(data)
              const query = `subscription { stacksChanged(after: ${after}) { sequence snapshot { name } stack { name } } }`
              if (message.type === 'connection_ack') socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query } }))
              if (message.type === 'next') found.push(message.payload.data.stacksChanged)
              globalThis.seen = found.length
              if (found.length === count) {
                socket.close()
                done(found)
              }
            }
          }),
        [skep.url.replace('http', 'ws') + '/graphql', skep.token, after, count],
      )
    await page.evaluate(() => (globalThis.seen = 0))
    const first = listen('null', 2)
    await page.waitForFunction(() => globalThis.seen === 1)
    await skep.ask(touch)
    const [snapshot, change] = await first
    assert.deepEqual(snapshot.snapshot.map((it) => it.name).sort(), [BLOG, MAIL, SHOP, WIKI])
    assert.equal(change.snapshot, null)
    assert.equal(change.stack.name, BLOG)
    assert.ok(change.sequence > snapshot.sequence)
    // What happened meanwhile comes, and no snapshot.
    const [resumed] = await listen(snapshot.sequence, 1)
    assert.equal(resumed.snapshot, null)
    assert.equal(resumed.stack.name, BLOG)
  })

  it('the check for accessibility can fail', async () => {
    await page.evaluate(() => {
      const planted = document.createElement('button')
      planted.id = 'planted'
      document.querySelector('main').append(planted)
    })
    const found = await browser.axe()
    assert.ok(found.some((it) => it.startsWith('button-name') && it.includes('#planted')), found.join('\n'))
    await page.evaluate(() => document.getElementById('planted').remove())
  })

  it('deletes a stack when its name is typed', async () => {
    await go(stackPath)
    await page.getByRole('button', { name: 'More actions' }).click()
    await page.getByRole('button', { name: 'Delete…' }).click()
    const dialog = page.getByRole('dialog')
    const go2 = dialog.getByRole('button', { name: 'Delete it' })
    await dialog.getByLabel(/to confirm/).fill('shop')
    assert.ok(await go2.isDisabled(), 'another name is enough')
    await dialog.getByLabel(/to confirm/).fill(SHOP)
    await go2.click()
    await page.getByText(`${SHOP} is not declared`).waitFor({ timeout: 60_000 })
    assert.equal(docker('service', 'ls', '-q', '--filter', `label=com.docker.stack.namespace=${SHOP}`), '')
  })

  it('shows the REST calls, and tries one with the token', async () => {
    await page.goto(`${skep.url}/api/docs`)
    await page.getByText('Declared stacks, by environment and name').waitFor()
    await browser.shot('api-docs')
    await page.getByRole('button', { name: 'Authorize' }).click()
    await page.getByLabel('auth-bearer-value').fill(skep.token)
    await page.getByRole('button', { name: 'Apply credentials' }).click()
    await page.getByRole('button', { name: 'Close' }).first().click()
    const call = page.locator('#operations-stacks-listStacks')
    await call.getByText('/api/v1/stacks', { exact: true }).click()
    await call.getByRole('button', { name: 'Try it out' }).click()
    await call.getByRole('button', { name: 'Execute' }).click()
    await call.locator('.live-responses-table').getByText(`"${BLOG}"`).first().waitFor()
  })

  it('shows script that others wrote as text', () => injection(skep, browser))

  it('made no error, and asked nobody but its server', () => {
    assert.deepEqual(browser.faults, [])
  })

  it('is small', async () => {
    const { gzipSync } = await import('node:zlib')
    const folder = new URL('../dist/assets/', import.meta.url)
    const scripts = readdirSync(folder).filter((name) => /^index-.*\.js$/.test(name))
    assert.equal(scripts.length, 1)
    const bytes = scripts.reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, folder))).length, 0)
    assert.ok(bytes > 1000 && bytes < 60_000, `${bytes} bytes of script, gzipped`)
  })
})
