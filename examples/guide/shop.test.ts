import { testApp } from 'celeriac/testing'
import { expect, test } from 'vitest'
import { add, app, charge, importRows, poll } from './shop.ts'

test('one task, run as a worker would', async () => {
  await using t = await testApp(app)
  expect(await t.run(add, [2, 3])).toBe(5)
  expect(await t.run(charge, ['busy'], { retries: 1 })).toBe('charged busy')
  expect(await t.run(importRows, [['a', 'b']])).toBe(2)
})

test('all tries of a flaky task, without the waits between them', async () => {
  await using t = await testApp(app)
  await poll.delay()
  expect(await t.drain({ withRetries: true })).toEqual({ succeeded: 1, failed: 0, retried: 2 })
})

test('code that waits for its tasks', async () => {
  await using _ = await testApp(app, { mode: 'eager' })
  expect(await add.delay(2, 3).get()).toBe(5)
})
