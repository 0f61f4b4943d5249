/** Tasks for later (reliability.md B.10): timers that would overflow, and waits that outlast leases. */
import { expect, vi } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { until } from '../conformance/wait.js'
import { faultTest, statementTest } from '../harness/fault-test.js'

const day = 86_400_000

faultTest({ id: 'B9', promise: 'an eta in 30 days is not run now, and holds up nothing', left: 1 }, async (scene) => {
  await scene.worker({ concurrency: 1 })
  const far = await scene.send('good', ['far'], { eta: new Date(Date.now() + 30 * day) })
  const ids = await scene.sendMany(10, 'good')
  for (const id of ids) await scene.result(id)
  expect(scene.recorder.starts(far)).toEqual([])
  const [row] = await scene.broker.rows<{ due: number }>('SELECT due FROM delayed')
  expect(row?.due).toBeGreaterThan(Date.now() + 29 * day)
  scene.ledger.confirmed.delete(far)
})

statementTest(
  { id: 'B9', driver: 'timers', promise: 'a timer of 30 days fires after 30 days: it is chained below the limit of setTimeout' },
  () => {
    vi.useFakeTimers()
    try {
      const delays: number[] = []
      const real = globalThis.setTimeout
      const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((callback: () => void, ms: number) => {
        delays.push(ms)
        return real(callback, ms)
      }) as typeof setTimeout) // only the two arguments that the clock uses
      const fired = vi.fn()
      systemClock.setTimer(30 * day, fired)
      vi.advanceTimersByTime(30 * day - 1)
      expect(fired).not.toHaveBeenCalled()
      vi.advanceTimersByTime(1)
      expect(fired).toHaveBeenCalledOnce()
      expect(Math.max(...delays)).toBeLessThan(2 ** 31)
      const cancelled = systemClock.setTimer(60 * day, fired)
      vi.advanceTimersByTime(20 * day)
      cancelled.cancel()
      vi.advanceTimersByTime(60 * day)
      expect(fired).toHaveBeenCalledOnce()
      spy.mockRestore()
    } finally {
      vi.useRealTimers()
    }
  },
)

const leaseMs = 500
const query = `?lease_ttl=${leaseMs / 1000}&sweep_interval=0.1`

for (const fault of ['alive', 'killed'] as const) {
  faultTest(
    { id: 'B10', variant: fault, promise: `an eta of 10 lease times, worker ${fault}: run once, on time`, query },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      const dueAt = Date.now() + 10 * leaseMs
      const id = await scene.send('good', [1], { eta: new Date(dueAt) })
      await until(() => Date.now() > dueAt - 6 * leaseMs, 'four lease times')
      expect(scene.recorder.starts(id)).toEqual([])
      let readyAt = 0
      if (fault === 'killed') {
        await worker.end('SIGKILL')
        await scene.worker({ concurrency: 1 })
        readyAt = Date.now()
      }
      const { atMs } = await scene.recorder.started(1, id)
      // The record's clock, as a time of day.
      const startedAt = Date.now() - (Number(process.hrtime.bigint()) / 1e6 - atMs)
      expect(startedAt).toBeGreaterThanOrEqual(dueAt - 1)
      expect(startedAt).toBeLessThanOrEqual(Math.max(dueAt, readyAt) + 10 * leaseMs)
      await scene.drained()
    },
  )
}
