import { expect, test } from 'vitest'
import { TooLargeError } from '../../dist/errors.js'
import type { TaskRequest } from '../../dist/pool.js'
import type { FromChild, Message } from '../../dist/pools/child-frames.js'
import { ChildRuns } from '../../dist/pools/child-runs.js'

const request: Omit<TaskRequest, 'body'> = { id: 'a', task: 't', contentType: 'application/json', contentEncoding: 'utf-8', context: {} }

test('an outcome that cannot be told is a failure, and what was to follow the task is still known', async () => {
  const told: Message<FromChild>[] = []
  const write = (message: Message<FromChild>): void => {
    if (message.body === 'too much') throw new TooLargeError('a frame between worker and child', 9, 8)
    told.push(message)
  }
  const ended = new Promise<void>((resolve) => {
    const runs = new ChildRuns({
      app: {
        execute: async (_, run) => {
          run.accepted('what follows')
          setImmediate(() => setImmediate(resolve))
          return { status: 'success', result: 'too much', repr: '', runtimeMs: 1, children: [], continuations: 'what follows' }
        },
      },
      output: { write, hold: write, flush: () => {} },
      concurrency: 1,
      memory: undefined,
    })
    runs.onMessage({ t: 'run', n: 1, binary: false, request }, '[]')
    runs.startNext()
  })
  await ended
  expect(told.map(({ head }) => head)).toMatchObject([
    { t: 'accepted', n: 1 },
    { t: 'outcome', n: 1, outcome: { status: 'failure', error: { excType: 'TooLargeError' }, continuations: 'what follows' } },
  ])
})
