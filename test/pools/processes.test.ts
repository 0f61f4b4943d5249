import { fileURLToPath } from 'node:url'
import { systemClock } from '../../dist/internal/clock.js'
import { ProcessPool } from '../../dist/pools/processes.js'
import { testPool } from '../conformance/pool.js'

const entry = new URL('./fixtures/child.mjs', import.meta.url)
const quiet = { warn() {}, error() {} }

testPool({
  name: 'prefork',
  make: ({ size, host }) => new ProcessPool({ size, entry, env: process.env, output: 'ignore', host, clock: systemClock, log: quiet }),
})

testPool({
  name: 'prefork, one child that runs two tasks',
  make: ({ size, host }) =>
    new ProcessPool({
      size: 1,
      childConcurrency: size,
      entry: fileURLToPath(entry),
      env: process.env,
      output: 'ignore',
      host,
      clock: systemClock,
      log: quiet,
    }),
  gaps: { 'resize changes how much runs at the same time': 'resize counts processes, and each of these runs two tasks' },
})
