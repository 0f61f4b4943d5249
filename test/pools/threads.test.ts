import { systemClock } from '../../dist/internal/clock.js'
import { ThreadPool } from '../../dist/pools/threads.js'
import { testPool } from '../conformance/pool.js'

const entry = new URL('./fixtures/thread.mjs', import.meta.url)
const quiet = { warn() {}, error() {} }

testPool({
  name: 'threads',
  make: ({ size, host }) => new ThreadPool({ size, entry, env: process.env, output: 'ignore', host, clock: systemClock, log: quiet }),
})
