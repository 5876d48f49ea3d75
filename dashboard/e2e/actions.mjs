// Every action of the page that the story does not need, each with its dialog looked at; a stack from git, one with a job, one that
// waits for approval, one taken over; and two Skeps that want the same Swarm.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { compose, docker, Skep } from './skep.mjs'
import { fields, going, signedIn, story } from './steps.mjs'

const GIT = 'git-page'
const WORD = 'word-page'
const JOB = 'job-page'
const path = (name) => `/stacks/default/${name}`
const it = story()
const skep = new Skep()
const folder = mkdtempSync(join(tmpdir(), 'skep-actions-'))
let other
let browser
let page
let go
let field
let dialog

const git = (...args) =>
  execFileSync('git', ['-C', join(folder, 'repo'), '-c', 'user.name=Ada Lovelace', '-c', 'user.email=ada@example.org', ...args], { encoding: 'utf8' }).trim()

/** One that is declared inline, with these lines besides. */
const declared = (name, text, more = '') => `kind: Stack\nname: ${name}\ninline: |\n${text.replace(/^(?=.)/gm, '  ')}${more}`
const policy = 'policy: { progressDeadline: 2m, monitor: 1s }\n'

/** The job says which version it is of; that of version 3 takes its time, the broken one fails. */
const withJob = `services:
  migrate:
    image: skep-example:1
    command: ["sh", "-c", "v=$$(cat /etc/version); echo migrating to $$v; test $$v != 3 || sleep 60; test $$v != broken || exit 3; echo migrated"]
    stop_grace_period: 1s
    x-skep: { hook: pre }
  web:
    image: skep-example:1
    command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 5 & wait; done"]
    stop_grace_period: 1s
    depends_on: { store: { condition: service_started } }
  store:
    image: skep-example:1
    command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 5 & wait; done"]
    stop_grace_period: 1s
`

/** Opens something of the menu. */
const more = async (name) => {
  await page.getByRole('button', { name: 'More actions' }).click()
  await page.getByRole('button', { name }).click()
  await dialog.waitFor()
}
/** Presses the button that sends it, and waits until it was accepted. */
const send = async (name) => {
  await dialog.getByRole('button', { name, exact: true }).click()
  await dialog.waitFor({ state: 'detached' })
}
/** Deploys an image of a service; the plan is shown first. */
const deploy = async (service, version, shows) => {
  await page.getByRole('button', { name: 'Deploy…' }).click()
  await dialog.getByLabel(`Image of ${service}`).fill(version)
  await dialog.getByRole('button', { name: 'Show the plan' }).click()
  await shows()
  await dialog.getByRole('button', { name: 'Deploy', exact: true }).click()
  await page.waitForURL(/\/deployments\//)
}

/** Declares the stack that is shown anew, and waits until that is what runs: the phase alone may still be that of before. */
const redeclare = async (text) => {
  const shown = page.getByText(/generation \d+,/)
  const generation = Number(/generation (\d+)/.exec(await shown.innerText())[1])
  await skep.declare(text)
  await page.getByText(`generation ${generation + 1},`).waitFor()
  await browser.phase('Converged')
}

describe('the actions', { concurrency: false }, () => {
  before(async () => {
    await skep.start()
    browser = await signedIn(skep.url, skep.token)
    page = browser.page
    go = going(page)
    field = fields(page)
    dialog = page.getByRole('dialog')
  })
  after(async () => {
    await browser?.close()
    await other?.clean([])
    await skep.clean([GIT, WORD, JOB])
    rmSync(folder, { recursive: true, force: true })
  })

  it('a stack from git: its permalink has the commit, its title and its author', async () => {
    mkdirSync(join(folder, 'repo'))
    git('init', '-q', '-b', 'main')
    writeFileSync(join(folder, 'repo', 'docker-stack.yml'), compose('1', 1))
    git('add', '.')
    git('commit', '-q', '-m', 'The shop opens', '-m', 'With one window.')
    const text = `kind: Stack\nname: ${GIT}\nsource: { git: "file://${folder}/repo", ref: main }\ncompose: [docker-stack.yml]\n${policy}`
    await page.getByRole('button', { name: /Declare a stack here/ }).click()
    await dialog.getByLabel('Manifest').fill(text)
    await dialog.getByRole('button', { name: 'Show what changes' }).click()
    await dialog.getByText('is new').waitFor()
    await browser.inspect('declare')
    await send('Declare')
    await browser.phase('Converged')
    const revision = git('rev-parse', 'HEAD')
    await page.locator('#steps a').click()
    await page.waitForURL(/\/deployments\//)
    await page.locator('.commit', { hasText: /The shop opens\s+Ada Lovelace/ }).waitFor()
    await page.getByText(revision, { exact: true }).waitFor()
    assert.equal(await page.locator('.versions .version').first().innerText(), revision.slice(0, 8))
  })

  it('reconciles, and says how that was asked for', async () => {
    await go(path(GIT))
    await more('Reconcile now…')
    await browser.inspect('reconcile')
    await field('Reason').fill('to be sure')
    await send('Reconcile')
    await go(`${path(GIT)}?tab=events`)
    await page.locator('.events li', { hasText: /reconcile requested/ }).filter({ hasText: /admin by GraphQL/ }).first().waitFor()
  })

  it('suspends with an end', async () => {
    await go(path(GIT))
    await more('Suspend…')
    await field('Reason').fill('until the house is moved')
    const end = new Date(Date.now() + 90 * 60_000)
    await field('Until').fill(new Date(end.getTime() - end.getTimezoneOffset() * 60_000).toISOString().slice(0, 16))
    await browser.inspect('suspend')
    await send('Suspend')
    await browser.phase('Suspended')
    assert.match(await page.locator('#why').innerText(), /In 1 h.*: the suspension ends then/)
    await page.getByRole('button', { name: 'Resume…' }).click()
    await browser.inspect('resume')
    await send('Resume')
    await browser.phase('Converged')
  })

  it('approves the plan that was shown, and no step is called not done while it waits', async () => {
    await skep.declare(declared(WORD, compose('1', 1), 'policy: { mode: approve, progressDeadline: 2m, monitor: 1s }\n'))
    await go(path(WORD))
    await page.locator('.step.now', { hasText: 'Approval' }).waitFor()
    assert.deepEqual(await page.locator('.step.done .name').allInnerTexts(), ['Recorded', 'Fetch', 'Render'])
    assert.match(await page.locator('#why').innerText(), /It waits until somebody approves its plan/)
    await page.getByRole('button', { name: 'Approve…' }).click()
    await dialog.getByText(`service ${WORD}_web`).waitFor()
    await browser.inspect('approve')
    await field('Reason').fill('seen')
    await send('Approve')
    await page.waitForURL(/\/deployments\//)
    await browser.phase('Converged')
    await page.locator('.step.done', { hasText: 'Approval' }).waitFor()
  })

  it('a job before a deployment is in its plan, on its way, and says why it failed', async () => {
    await skep.declare(declared(JOB, withJob, policy))
    await go(path(JOB))
    await page.locator('.job[data-job=migrate] [data-phase=Succeeded]').waitFor({ timeout: 60_000 })
    await browser.phase('Converged')
    const job = page.locator('.job[data-job=migrate]')
    await job.getByText('Its last lines').click()
    assert.match(await job.innerText(), /before the services[\s\S]*took [\s\S]*migrating to 1\s+migrated/)
    await browser.inspect('job')
    // Nothing of the stack differs, and still there is something to do.
    await deploy('migrate', 'broken', async () => {
      await dialog.getByText(/No object differs.*only jobs run/).waitFor()
      await dialog.locator(`[data-job=${JOB}_migrate]`, { hasText: 'before the services' }).waitFor()
      await browser.inspect('plan-job')
    })
    await page.locator('.job[data-job=migrate] [data-phase=Failed]').waitFor({ timeout: 60_000 })
    assert.match(await page.locator('.job[data-job=migrate]').innerText(), /exit code 3[\s\S]*migrating to broken/)
    await browser.phase('Failed')
  })

  it('releases a hold: what failed is tried again', async () => {
    await go(path(JOB))
    await page.getByRole('button', { name: 'Release hold…' }).click()
    await browser.inspect('release-hold')
    await send('Release the hold')
    await page.locator('.head .note, .step.now, .job [data-phase=Running], .job [data-phase=Starting]').first().waitFor()
    // It fails again, and is held again.
    await page.getByRole('button', { name: 'Release hold…' }).waitFor({ timeout: 60_000 })
  })

  it('cancels what is under way', async () => {
    await deploy('migrate', '3', () => dialog.locator(`[data-job=${JOB}_migrate]`).waitFor())
    await go(path(JOB))
    await page.locator('.job[data-job=migrate] [data-phase=Running]').waitFor({ timeout: 60_000 })
    assert.match(await page.locator('#why').innerText(), /In .*: the job migrate has to end well until then/)
    await browser.inspect('converging')
    await page.getByRole('button', { name: 'Cancel…' }).click()
    await browser.inspect('cancel')
    await send('Cancel it')
    await page.getByRole('button', { name: 'Cancel…' }).waitFor({ state: 'detached' })
    await go(`${path(JOB)}?tab=history`)
    await page.locator('.history li').first().locator('[data-phase=Cancelled]').waitFor({ timeout: 60_000 })
  })

  it('marks apart what somebody else changed, and says when it is put right', async () => {
    const drifting = (what) => declared(WORD, compose('1', 1), policy.replace('{', `{ drift: ${what},`))
    await go(`${path(WORD)}?tab=changes`)
    await redeclare(drifting('report'))
    docker('service', 'update', '--detach', '--label-add', 'by=hand', `${WORD}_worker`)
    const drifted = page.locator('.drifted')
    await drifted.getByText('Labels › by').waitFor({ timeout: 60_000 })
    await drifted.getByText('hand', { exact: true }).waitFor()
    await page.getByText('Nothing else differs').waitFor()
    await browser.inspect('drift')
    await redeclare(drifting('correct'))
    await drifted.waitFor({ state: 'detached', timeout: 60_000 })
    assert.equal(docker('service', 'inspect', '-f', '{{index .Spec.Labels "by"}}', `${WORD}_worker`), '')
  })

  it('hands a stack back, and takes it over again: no task restarts', async () => {
    const tasks = () => docker('service', 'ps', '-q', '--no-trunc', `${WORD}_web`)
    const before = tasks()
    await go(path(WORD))
    await more('Hand back…')
    await browser.inspect('hand-back')
    await send('Hand it back')
    await page.getByText(`${WORD} is not declared`).waitFor({ timeout: 60_000 })
    await browser.inspect('not-declared')
    await go('/')
    await page.locator(`[data-stack=${GIT}]`).waitFor()
    await page.locator(`[data-stack=${WORD}]`).waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Adopt…' }).click()
    await dialog.getByLabel('Manifest').fill(declared(WORD, compose('1', 1), policy))
    await dialog.getByRole('button', { name: 'Show the plan' }).click()
    await dialog.locator('.plan').waitFor()
    await browser.inspect('adopt')
    await dialog.getByRole('button', { name: 'Adopt', exact: true }).click()
    await page.waitForURL(/\/deployments\//)
    await browser.phase('Converged')
    assert.equal(tasks(), before)
  })

  it('credentials: one is tried at a repository, and a host is trusted', async () => {
    const key = join(folder, 'key')
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    await go('/credentials')
    await page.getByText('No credential is declared').waitFor()
    await browser.inspect('credentials-empty')
    await page.getByRole('button', { name: 'New credential…' }).click()
    await field('Name').fill('shop-ssh')
    await field('Type').selectOption('SshKey')
    await field('May go to').fill('127.0.0.1')
    await field('privateKey').fill(readFileSync(key, 'utf8'))
    await send('Seal it')
    await page.getByRole('heading', { name: /shop-ssh/ }).waitFor()
    await page.getByRole('button', { name: 'Trust a host…' }).click()
    await field('Host and key').fill(`[127.0.0.1]:2222 ${readFileSync(`${key}.pub`, 'utf8')}`)
    await browser.inspect('trust')
    await send('Trust it')
    await page.locator('.chip', { hasText: 'knownHosts' }).waitFor()
    // Nobody listens there: what the server says about it stands on the page.
    await page.getByLabel('Test it at a repository').fill('ssh://git@127.0.0.1:2222/shop.git')
    await page.getByRole('button', { name: 'Test', exact: true }).click()
    await page.locator('.note.tone-bad').waitFor({ timeout: 60_000 })
    await page.getByRole('button', { name: 'New credential…' }).click()
    await field('Name').fill('keys')
    await field('Type').selectOption('Opaque')
    await field('May go into stacks').fill('shop, prod/*')
    await field('secret').fill('a-value-nobody-sees')
    await send('Seal it')
    await page.getByText('shop, prod/*').waitFor()
    await page.getByRole('button', { name: 'Delete…' }).last().click()
    await browser.inspect('credential-delete')
    await dialog.getByRole('button', { name: 'Leave it' }).click()
  })

  it('environments: one is declared, does not answer, and is forgotten', async () => {
    await go('/environments')
    await page.getByRole('button', { name: 'New environment…' }).click()
    await field('Name').fill('staging')
    await field('Endpoints').fill('tcp://127.0.0.1:9')
    await browser.inspect('environment-new')
    await send('Declare it')
    await page.getByRole('heading', { name: /staging.*Does not answer/ }).waitFor({ timeout: 60_000 })
    await page.getByRole('button', { name: 'Delete staging' }).click()
    await browser.inspect('environment-delete')
    await send('Forget it')
    await page.getByRole('heading', { name: /staging/ }).waitFor({ state: 'detached' })
  })

  it('claims a Swarm that another Skep holds', async () => {
    const faults = browser.faults
    await browser.close()
    await skep.stop()
    other = new Skep({ robs: false })
    await other.start()
    browser = await signedIn(other.url, other.token)
    browser.faults.push(...faults)
    page = browser.page
    dialog = page.getByRole('dialog')
    await going(page)('/environments')
    await page.getByText(/another Skep writes here/).waitFor({ timeout: 60_000 })
    await browser.inspect('environments-foreign')
    await page.getByRole('button', { name: 'Claim it…' }).click()
    await browser.inspect('claim')
    await send('Claim it')
    await page.getByText(/this Skep writes here/).waitFor({ timeout: 60_000 })
  })

  it('made no error, and asked nobody but its server', () => assert.deepEqual(browser.faults, []))
})
