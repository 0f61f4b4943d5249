/** `app.deadLetters`: which are meant, and what a replay does to the task's failure. */
import { expect, test } from 'vitest'
import { LiveApp, until } from '../live-app.js'

test('dead letters are chosen by id, queue, task, reason and time', async () => {
  await using live = new LiveApp()
  const { app } = live
  const worker = await live.work({ queues: ['celery', 'mail'] })
  const send = (task: string, queue: string) => app.sendTask(task, {}, { queue })
  await send('mail.one', 'mail')
  await send('mail.two', 'celery')
  await until(async () => (await app.deadLetters.count()) === 2)
  const middle = new Date(Date.now() + 1)
  await until(() => Date.now() > middle.getTime())
  await send('report', 'celery')
  await until(async () => (await app.deadLetters.count()) === 3)
  await worker.stop()

  const chosen = async (...[filter]: Parameters<typeof app.deadLetters.list>): Promise<unknown[]> =>
    (await app.deadLetters.list(filter)).map(({ message }) => message.headers.task).sort()
  const [first] = await app.deadLetters.list({ limit: 1 })
  expect(await chosen()).toEqual(['mail.one', 'mail.two', 'report'])
  expect(await chosen({ queue: 'celery' })).toEqual(['mail.two', 'report'])
  expect(await chosen({ task: 'mail.*' })).toEqual(['mail.one', 'mail.two'])
  expect(await chosen({ task: 'mail.*', queue: 'mail' })).toEqual(['mail.one'])
  expect(await chosen({ reason: 'IS REGISTERED' })).toHaveLength(3)
  expect(await chosen({ reason: 'no such words' })).toEqual([])
  expect(await chosen({ since: middle })).toEqual(['report'])
  expect(await chosen({ before: middle })).toEqual(['mail.one', 'mail.two'])
  expect(await chosen({ ids: [first?.id ?? ''] })).toHaveLength(1)
  expect([await chosen({ limit: 2 }), await chosen({ limit: 0 })]).toEqual([expect.objectContaining({ length: 2 }), []])
})

test('a replay whose queue is gone leaves the letter and the failure as they were', async () => {
  await using live = new LiveApp({ taskQueues: [{ name: 'brief', autoDelete: true }] })
  const { app } = live
  const worker = await live.work()
  const result = await app.sendTask('unknown', {}, { queue: 'brief' })
  await until(async () => (await result.state()) === 'FAILURE')
  await until(async () => (await app.deadLetters.count()) === 1)
  await worker.stop()
  const [letter] = await app.deadLetters.list()
  const id = letter?.id ?? ''
  await expect(app.deadLetters.replay(id)).rejects.toMatchObject({ code: 'ERR_QUEUE_MISSING' })
  expect([await app.deadLetters.count(), await result.state()]).toEqual([1, 'FAILURE'])

  await live.work()
  expect(await app.deadLetters.replay(id)).toBe(true)
  expect(await app.deadLetters.replay(id)).toBe(false)
  // It fails again, as a run of its own.
  await until(async () => (await app.deadLetters.count()) === 1)
  expect((await app.deadLetters.list())[0]?.id).not.toBe(id)
})
