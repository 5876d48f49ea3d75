// The Skep under test, on the real Swarm of this machine: started and stopped by the test itself.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
export const binary = process.env.SKEP_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug/skep')

export const docker = (...args) => execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
const list = (...args) => docker(...args).split('\n').filter(Boolean)

/** Which engine a process speaks to, as far as its environment says. */
const engineOf = (pid) => /(?:^|\0)DOCKER_HOST=([^\0]*)/.exec(readFileSync(`/proc/${pid}/environ`, 'utf8'))?.[1] ?? ''

/** Removes claims of Skeps that are gone. One that lives is not robbed; those of other engines do no harm. */
function clearClaims() {
  const claims = list('config', 'ls', '-q', '--filter', 'label=dev.skep.claim')
  if (claims.length === 0) return
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let words = []
    try {
      words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      if (engineOf(pid) !== (process.env.DOCKER_HOST ?? '')) continue
    } catch {
      continue
    }
    if (/(^|\/)skep$/.test(words[0]) && words[1] === 'serve') throw new Error(`another Skep keeps this Swarm: process ${pid}`)
  }
  for (const claim of claims) docker('config', 'rm', claim)
}

export class Skep {
  #process = null
  folder = mkdtempSync(join(tmpdir(), 'skep-page-'))
  port = 0

  /** `robs`: claims of Skeps that are gone are taken away first. */
  constructor({ robs = true } = {}) {
    if (robs) clearClaims()
  }

  get url() {
    return `http://127.0.0.1:${this.port}`
  }

  get token() {
    return readFileSync(join(this.folder, 'admin.token'), 'utf8').trim()
  }

  async start() {
    const flags = ['serve', '--listen', `127.0.0.1:${this.port}`, '--data', this.folder, '--allow-private-addresses', '--allow-file-sources']
    this.#process = spawn(binary, flags, { stdio: ['ignore', 'ignore', 'pipe'] })
    const said = []
    for await (const line of createInterface({ input: this.#process.stderr })) {
      said.push(line)
      const found = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)
      if (!found) continue
      this.port = Number(found[1])
      this.#process.stderr.resume()
      return
    }
    throw new Error(`skep did not start:\n${said.join('\n')}`)
  }

  async stop() {
    const ended = this.#process
    this.#process = null
    if (!ended || ended.exitCode !== null) return
    await new Promise((done) => {
      ended.once('exit', done)
      ended.kill('SIGTERM')
    })
  }

  async ask(query, variables = {}) {
    const answer = await fetch(`${this.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    })
    const { data, errors } = await answer.json()
    if (errors) throw new Error(JSON.stringify(errors))
    return data
  }

  async declare(manifest) {
    const { applyStack } = await this.ask('mutation($m: String!) { applyStack(input: {manifest: $m}) { userErrors { message } } }', { m: manifest })
    if (applyStack.userErrors.length > 0) throw new Error(JSON.stringify(applyStack.userErrors))
  }

  /** Ends it, and takes away what these stacks left on the Swarm. */
  async clean(stacks) {
    await this.stop()
    for (const stack of stacks) {
      for (const kind of ['service', 'config', 'secret', 'network']) {
        const left = () => list(kind, 'ls', '-q', '--filter', `label=com.docker.stack.namespace=${stack}`)
        const end = Date.now() + 15_000
        // A network goes when the tasks that use it have gone; the engine does not say when that is.
        while (left().length > 0 && Date.now() < end) {
          for (const id of left()) {
            try {
              docker(kind, 'rm', id)
            } catch {
              await new Promise((done) => setTimeout(done, 200))
            }
          }
        }
      }
    }
    clearClaims()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A compose file with a `web` and a `worker`; `web` runs this tag of the examples' image. */
export const compose = (tag, replicas = 2) => `services:
  web:
    image: skep-example:${tag}
    command: ["sh", "-c", "echo reading /etc/version; echo this is version $$(cat /etc/version); exec serve"]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O-", "http://127.0.0.1:8080/healthz"]
      interval: 1s
      timeout: 5s
      retries: 3
    stop_grace_period: 1s
    deploy:
      replicas: ${replicas}
      update_config: { parallelism: 1, order: start-first, monitor: 1s }
      restart_policy: { condition: any, delay: 500ms }
  worker:
    image: skep-example:1
    command: ["sh", "-c", "trap 'exit 0' TERM; while :; do date; sleep 5 & wait; done"]
    stop_grace_period: 1s
    deploy:
      replicas: 1
      update_config: { monitor: 1s }
`

export const manifest = (name, tag, replicas = 2) => `kind: Stack
name: ${name}
inline: |
${compose(tag, replicas).replace(/^(?=.)/gm, '  ')}policy: { progressDeadline: 40s, monitor: 2s }
`
