import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { InlinePool } from '../../dist/pools/inline.js'
import { MixedPool } from '../../dist/pools/mixed.js'
import { never, request, resultOf } from '../conformance/pool.js'
import { within } from '../conformance/wait.js'
import { makeExecute } from './fixtures/execute.mjs'
import { tasks } from './fixtures/tasks.mjs'

let pool: MixedPool

beforeEach(async () => {
  const common = { execute: makeExecute(tasks), host: { storeState: async () => {} }, clock: systemClock, maxBlockMs: 0 }
  const main = new InlinePool({ ...common, name: 'async', concurrency: 2 })
  const other = new InlinePool({ ...common, name: 'solo', concurrency: 1 })
  pool = new MixedPool({ main, others: [other], partOf: (task) => (task === 'untilAborted' ? 'solo' : undefined) })
  await pool.start()
})

afterEach(() => pool.stop({ signal: AbortSignal.abort() }))

test('it is as large as its parts together, and changes the size of the main one', async () => {
  expect(pool).toMatchObject({ name: 'async+solo', capacity: 3, window: 3, size: 2, pids: [process.pid], supports: { resize: true } })
  await pool.resize(5)
  expect(pool).toMatchObject({ capacity: 6, size: 5 })
})

test('a full part is told of, and holds up no task of another', async () => {
  expect(pool.parts.isFull('untilAborted')).toBe(false)
  const first = pool.run(request('untilAborted'))
  expect(pool.parts.isFull('untilAborted')).toBe(true)
  expect(pool.parts.isFull('noop')).toBe(false)
  resultOf(await within(pool.run(request('noop')).outcome, 'another'))
  first.abort('revoked')
  await within(first.outcome, 'the first')
  expect(pool.parts.isFull('untilAborted')).toBe(false)
})

test('stop waits for all parts', async () => {
  const run = pool.run(request('untilAborted'))
  let isStopped = false
  const stopped = pool.stop({ signal: never() }).then(() => {
    isStopped = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(isStopped).toBe(false)
  run.abort('shutdown')
  await within(stopped, 'stop')
})

test('a pool in which nothing can be started anew has no restart', () => {
  expect(pool.restart).toBeUndefined()
})
