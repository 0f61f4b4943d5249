import { testApp } from 'celeriac/testing'
import { expect, test } from 'vitest'
import { app, sendEmail, signUp } from './shop.ts'

test('a sign-up sends a mail now and one three days later', async () => {
  await using t = await testApp(app)

  await signUp('ada@example.com')

  expect(t.enqueued(sendEmail).map((call) => call.kwargs)).toEqual([
    { to: 'ada@example.com' },
    { to: 'ada@example.com', subject: 'How is it going?' },
  ])
  expect(await t.drain()).toMatchObject({ succeeded: 1 })
  await t.advance('3d')
  expect(await t.drain()).toMatchObject({ succeeded: 1 })
})
