/** Workflows from their call to their result, on one worker in this process. What each message looks like is held to Python in test/canvas. */
import { expect, test } from 'vitest'
import { chain, chord, group } from '../../dist/index.js'
import { LiveApp } from '../live-app.js'

const deadline = { timeout: 20 }

function tasksOf({ app }: LiveApp) {
  return {
    add: app.task('add', (x: number, y: number) => x + y),
    sum: app.task('sum', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)),
    text: app.task('text', (value: unknown) => JSON.stringify(value)),
    boom: app.task('boom', (value: unknown): number => {
      throw new Error(`boom ${JSON.stringify(value)}`)
    }),
  }
}

test('a chain gives the result of its last step', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  const result = await chain(add.s(2, 2), add.s(4), text.s()).delay()
  expect(await result.get(deadline)).toBe('8')
  expect(await result.parent?.get(deadline)).toBe(8)
  expect(await result.parent?.parent?.get(deadline)).toBe(4)
  expect(result.parent?.parent?.parent).toBeNull()
})

test('a chord gives its body the results of its header, in their order', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  expect(await chord(group(add.s(1, 1), add.s(2, 2), add.s(3, 3)), text.s()).delay().get(deadline)).toBe('[2,4,6]')
})
