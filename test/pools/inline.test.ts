import { systemClock } from '../../dist/internal/clock.js'
import { InlinePool } from '../../dist/pools/inline.js'
import { testPool } from '../conformance/pool.js'
import { makeExecute } from './fixtures/execute.mjs'
import { tasks } from './fixtures/tasks.mjs'

const execute = makeExecute(tasks)
const shared = 'the task shares its process with the worker'
const gaps = {
  'the hard time limit ends a task that blocks, and the outcome has its continuations': shared,
  'terminate ends a task that blocks': shared,
}

testPool({
  name: 'async',
  make: ({ size, host }) => new InlinePool({ name: 'async', concurrency: size, execute, host, clock: systemClock }),
  gaps,
})

testPool({
  name: 'solo',
  make: ({ host }) => new InlinePool({ name: 'solo', concurrency: 1, execute, host, clock: systemClock }),
  gaps: { ...gaps, 'resize changes how much runs at the same time': 'it runs one task at a time' },
})
