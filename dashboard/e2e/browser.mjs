// Chromium, and what is asked of every view.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const shots = process.env.SHOTS ?? null

export class Browser {
  /** What should never be: errors of the page, and requests to anyone but the server. */
  faults = []

  static async open(url) {
    const it = new Browser()
    it.folder = mkdtempSync(join(tmpdir(), 'skep-chromium-'))
    it.context = await chromium.launchPersistentContext(it.folder, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      viewport: { width: 1280, height: 860 },
      colorScheme: 'light',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
    await it.context.addInitScript(() => {
      globalThis.shifts = []
      new PerformanceObserver((list) => {
        for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) globalThis.shifts.push(value)
      }).observe({ type: 'layout-shift', buffered: true })
    })
    it.page = it.context.pages()[0] ?? (await it.context.newPage())
    it.page.setDefaultTimeout(20_000)
    it.page.on('pageerror', (error) => it.faults.push(`page error: ${error.stack}`))
    it.page.on('console', (line) => {
      // A server that is away is told to the console by the browser itself.
      if (line.type() === 'error' && !/ERR_CONNECTION|WebSocket connection|401/.test(line.text())) it.faults.push(`console: ${line.text()}`)
    })
    it.page.on('request', (request) => {
      const to = request.url()
      if (!to.startsWith(url) && !to.startsWith('data:') && !to.startsWith('blob:')) it.faults.push(`a request to ${to}`)
    })
    return it
  }

  async close() {
    await this.context?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** What axe finds wrong after WCAG 2.2 AA. */
  async axe() {
    await this.page.evaluate(axeSource)
    const found = await this.page.evaluate(() =>
      globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
    )
    return found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join('; ')}`)
  }

  /** The view as it stands: accessible in both themes, and no wider than 320 pixels ask for. A picture of each. */
  async inspect(name) {
    const wrong = []
    for (const colorScheme of ['light', 'dark']) {
      await this.page.emulateMedia({ colorScheme })
      wrong.push(...(await this.axe()).map((it) => `${colorScheme}: ${it}`))
      await this.shot(`${name}-${colorScheme}`)
    }
    await this.page.emulateMedia({ colorScheme: 'light' })
    await this.page.setViewportSize({ width: 320, height: 720 })
    const width = await this.page.evaluate(() => document.documentElement.scrollWidth)
    if (width > 320) wrong.push(`320 pixels: it is ${width} wide`)
    wrong.push(...(await this.axe()).map((it) => `320 pixels: ${it}`))
    await this.shot(`${name}-320`)
    await this.page.setViewportSize({ width: 1280, height: 860 })
    assert.deepEqual(wrong, [], name)
  }

  /** How far what is shown has moved by itself since this was asked last, or since it was loaded: the browser's own measure. */
  async shift() {
    return this.page.evaluate(async () => {
      const frame = () => new Promise((done) => requestAnimationFrame(done))
      await frame().then(frame)
      return globalThis.shifts.splice(0).reduce((sum, it) => sum + it, 0)
    })
  }

  async shot(name) {
    if (!shots) return
    mkdirSync(shots, { recursive: true })
    await this.page.screenshot({ path: join(shots, `${name}.png`), animations: 'disabled' })
  }

  /** Until the head of the view says this phase. */
  async phase(phase, timeout = 60_000) {
    await this.page.locator(`.head .phase[data-phase="${phase}"]`).waitFor({ timeout })
  }
}
