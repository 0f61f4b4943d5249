/** Workflows where no worker is: `taskAlwaysEager` and `testApp`. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { chain, chord, group, TaskFailure, testApp } from '../../dist/index.js'
import { LiveApp } from '../live-app.js'

function tasksOf({ app }: LiveApp) {
  const seen: unknown[] = []
  return {
    seen,
    add: app.task('add', (x: number, y: number) => x + y),
    sum: app.task('sum', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)),
    text: app.task('text', (value: unknown) => JSON.stringify(value)),
    note: app.task('note', (value: unknown) => void seen.push(value)),
    boom: app.task('boom', (value: unknown): number => {
      throw new Error(`boom ${JSON.stringify(value)}`)
    }),
  }
}

test('taskAlwaysEager runs whole workflows at the call, without broker or backend', async () => {
  await using live = new LiveApp({ taskAlwaysEager: true, broker: 'redis://127.0.0.1:1/0', backend: 'redis://127.0.0.1:1/0' })
  const { add, sum, text } = tasksOf(live)
  const fan = () => group(add.s(1), add.s(2))
  const result = await chain(add.s(1, 1), fan(), sum.s(), fan(), text.s()).delay()
  expect(await result.get()).toBe('[8,9]')
  expect(await result.parent?.get()).toEqual([8, 9])
  expect(await result.parent?.parent?.parent?.parent?.get()).toBe(2)
  expect(
    await group(add.s(1, 1), chord(group(add.s(1, 1), add.s(2, 2)), sum.s()))
      .delay()
      .get(),
  ).toEqual([2, 6])
  expect(await add.chunks([[1, 2], [3, 4]], 1).delay().get()).toEqual([[3], [7]]) // biome-ignore format: one line tells more
})

test('an eager workflow that fails gives its error in the handle, or throws it with taskEagerPropagates', async () => {
  await using live = new LiveApp({ taskAlwaysEager: true })
  const { add, boom, text, note, seen } = tasksOf(live)
  const result = await chain(add.s(1, 1), boom.s(), text.s()).linkError(note.s()).delay()
  expect([await result.state(), await result.parent?.state(), await result.parent?.parent?.state()]).toEqual([
    'FAILURE',
    'FAILURE',
    'SUCCESS',
  ])
  await expect(result.get()).rejects.toThrow(TaskFailure)
  expect(seen).toEqual([result.parent?.id])

  await using strict = new LiveApp({ taskAlwaysEager: true, taskEagerPropagates: true })
  const others = tasksOf(strict)
  await expect(chain(others.add.s(1, 1), others.boom.s(), others.text.s()).delay()).rejects.toThrow('boom 2')
  await expect(group(others.add.s(1, 1), others.boom.s(3)).delay()).rejects.toThrow('boom 3')
})

test('an eager task that ignores or rejects itself ends its chord and its chain, as in a worker', async () => {
  await using live = new LiveApp({ taskAlwaysEager: true })
  const { add, sum, text } = tasksOf(live)
  const leave = live.app.task('leave', { bind: true }, (self, how: string): number => (how === 'ignore' ? self.ignore() : self.reject()))
  for (const [how, error] of [
    ['ignore', 'Ignore'],
    ['reject', 'Reject'],
  ] as const) {
    const body = await chord(group(add.s(1, 1), leave.s(how)), sum.s()).delay()
    await expect(body.get()).rejects.toMatchObject({ excType: 'ChordError', message: expect.stringContaining(error) })
    await expect(chain(leave.s(how), text.s()).delay().get()).rejects.toMatchObject({ excType: error })
  }
})

test('an eager task whose next step cannot be sent has failed, and names what it sent among its children', async () => {
  await using live = new LiveApp({ taskAlwaysEager: true })
  const { add, text } = tasksOf(live)
  const strict = live.app.task('strict', { args: z.tuple([z.string()]) }, (value) => value)
  const result = await chain(add.s(1, 1), strict.s() as never).delay()
  await expect(result.get()).rejects.toBeInstanceOf(TaskFailure)
  expect(await result.parent?.state()).toBe('FAILURE')
  const whole = await chain(add.s(1, 1), text.s()).delay()
  expect((await whole.parent?.children())?.map(({ id }) => id)).toEqual([whole.id])
})

test('a workflow in testApp runs step by step with drain()', async () => {
  await using live = new LiveApp()
  const { add, sum, text } = tasksOf(live)
  await using t = await testApp(live.app)
  const result = await chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s(), text.s()).delay()
  expect(t.enqueued(add).map(({ args }) => args)).toEqual([[1, 1]])
  expect([t.enqueued(sum), await result.state()]).toEqual([[], 'PENDING'])
  expect(await t.drain()).toEqual({ succeeded: 5, failed: 0, retried: 0 })
  expect(await result.get()).toBe('7')
})

test('a workflow in an eager testApp has run when it is sent', async () => {
  await using live = new LiveApp()
  const { add, sum } = tasksOf(live)
  await using _ = await testApp(live.app, { mode: 'eager' })
  expect(
    await chord(group(add.s(1, 1), add.s(2, 2)), sum.s())
      .delay()
      .get(),
  ).toBe(6)
})
