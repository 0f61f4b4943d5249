/** What a worker answers to probes, over its lifetime. */
import { expect, test } from 'vitest'
import type { Worker } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

/** The status, and the answer. */
async function probe(live: LiveApp, path: '/healthz' | '/readyz'): Promise<readonly [number, Record<string, unknown>]> {
  const [line] = live.said('listening on http')
  const url = line?.text.replace('listening on ', '')
  const response = await fetch(`${url}${path}`)
  return [response.status, (await response.json()) as Record<string, unknown>] // an object, as the tests see
}

test('a worker is ready while it takes tasks, and says what it waits for when it stops; its port ends with it', async () => {
  await using live = new LiveApp({ workerHealthPort: 0 })
  const gates: (() => void)[] = []
  const gated = live.app.task('gated', () => new Promise<void>((resolve) => void gates.push(resolve)))
  const worker = await live.work({ hostname: 'w@h', queues: ['mail'] })
  expect(await probe(live, '/readyz')).toEqual([
    200,
    { status: 'ready', reason: null, state: 'consuming', hostname: 'w@h', pid: process.pid, queues: ['mail'], deaf_repairs: 0 },
  ])
  await gated.applyAsync([], { queue: 'mail' })
  await until(() => gates.length === 1)
  const stopped = worker.stop()
  await until(() => worker.state === 'draining')
  expect(await probe(live, '/readyz')).toMatchObject([
    503,
    { status: 'not ready', state: 'draining', reason: expect.stringContaining('told to stop') },
  ])
  expect(await probe(live, '/healthz')).toMatchObject([200, { status: 'alive', state: 'draining' }])
  gates[0]?.()
  await stopped
  await expect(probe(live, '/healthz')).rejects.toThrow()
})

test('a worker that waits for its broker is alive and not ready', async () => {
  // Nothing listens on port 1.
  await using live = new LiveApp({ broker: 'redis://127.0.0.1:1', workerHealthPort: '127.0.0.1:0' })
  const worker: Worker = live.app.worker({ pool: 'async' })
  const starting = worker.start()
  await until(() => live.said('trying again').length > 0)
  expect(await probe(live, '/readyz')).toMatchObject([503, { state: 'starting', reason: expect.stringContaining('ECONNREFUSED') }])
  expect(await probe(live, '/healthz')).toMatchObject([200, { status: 'alive' }])
  await worker.stop()
  await starting
})

test('a port that is taken is told at the start, and nothing is left open', async () => {
  await using live = new LiveApp({ workerHealthPort: 0 })
  await live.work()
  const port = new URL(live.said('listening on http')[0]?.text.replace('listening on ', '') ?? '').port
  await using other = new LiveApp({ workerHealthPort: port })
  const worker = other.app.worker({ pool: 'async' })
  await expect(worker.start()).rejects.toMatchObject({ code: 'ERR_PORT_UNAVAILABLE' })
  expect(worker.state).toBe('stopped')
})
