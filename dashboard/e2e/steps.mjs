// What the stories share: steps that depend on one another, and how they move about the page.
import assert from 'node:assert/strict'
import { it as test } from 'node:test'
import { Browser } from './browser.mjs'

/** A step of a story. What comes after one that failed says nothing, and fails at once. */
export function story() {
  let broken = false
  return (name, step) =>
    test(name, async () => {
      assert.ok(!broken, 'a step before failed')
      broken = true
      await step()
      broken = false
    })
}

/** A browser in which somebody is signed in already. */
export async function signedIn(url, token) {
  const browser = await Browser.open(url)
  await browser.page.goto(url)
  await browser.page.evaluate((it) => sessionStorage.setItem('skep.token', it), token)
  await browser.page.reload()
  await browser.page.locator('[data-link=live]').waitFor()
  return browser
}

/** To an address of the page, without a reload. */
export const going = (page) => (path) =>
  page.evaluate((to) => {
    history.pushState(null, '', to)
    dispatchEvent(new PopStateEvent('popstate'))
  }, path)

/** A field of the dialog, by what stands over it: a hint below it is part of its name. */
export const fields = (page) => (name) =>
  page.getByRole('dialog').locator('.field', { has: page.getByText(name, { exact: true }) }).locator('input, select, textarea')
