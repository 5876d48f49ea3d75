// What others write is shown as it is written: a reason, a log line and the message of a failure that would be script.
import assert from 'node:assert/strict'

/** The stack that is declared here. */
export const ODD = 'odd-page'

const MARKUP = `<img src=x onerror="globalThis.struck=1"><script>globalThis.struck=1</script>`

const odd = (command) => `kind: Stack
name: ${ODD}
inline: |
  services:
    web:
      image: skep-example:1
      command: [sh, -c, ${JSON.stringify(command.replace(/\$/g, '$$$$'))}]
      stop_grace_period: 1s
      deploy: { update_config: { monitor: 1s }, restart_policy: { condition: none } }
policy: { progressDeadline: 20s, monitor: 1s }
`

/** Has it said by a task, by a failure and by a person, and looks at each place. */
export async function injection(skep, browser) {
  const { page } = browser
  const shown = async (place) => {
    await page.getByText('onerror="globalThis.struck=1"', { exact: false }).first().waitFor()
    const found = await page.evaluate(() => [document.querySelectorAll('img[src="x"]').length, document.scripts.length, globalThis.struck ?? 0])
    assert.deepEqual(found, [0, 1, 0], place)
  }
  const at = (rest) => page.goto(`${skep.url}/stacks/default/${ODD}${rest}`)

  await skep.declare(odd(`echo '${MARKUP}'; exec serve`))
  await at('')
  await browser.phase('Converged')
  await at('?tab=logs')
  await shown('a log line')

  await skep.declare(odd(`echo '${MARKUP}' >&2; exit 3`))
  await at('')
  await page.getByRole('link', { name: 'Read why it failed' }).click({ timeout: 60_000 })
  await shown('what a failed task wrote')

  const reason = JSON.stringify(MARKUP)
  await skep.ask(`mutation { suspendStack(input: {stack: {name: "${ODD}"}, reason: ${reason}}) { userErrors { message } } }`)
  await at('')
  await shown('a reason')
  await page.goto(skep.url)
  await shown('a reason, in the list')
}
