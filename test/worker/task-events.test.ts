import { expect, test } from 'vitest'
import type { ClusterEvent } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

test('a task that a cold stop cuts off is told of as cancelled, and waits again', async () => {
  await using live = new LiveApp({ workerSendTaskEvents: true })
  const { app } = live
  const task = app.task(
    'gated',
    { bind: true },
    (self) => new Promise((_, fail) => self.signal.addEventListener('abort', () => fail(self.signal.reason))),
  )
  const seen: ClusterEvent[] = []
  await using monitor = await app.monitor({ onEvent: (event) => seen.push(event) })
  const worker = await live.work({ hostname: 'w@h' })
  const { id } = await task.delay()
  await until(() => seen.some(({ type }) => type === 'task-started'))
  await worker.stop({ mode: 'cold' })
  const cancelled = await until(() => seen.find(({ type }) => type === 'task-cancelled'))
  expect(cancelled).toMatchObject({ uuid: id, hostname: 'w@h' })
  expect(monitor.state.task(id)).toMatchObject({ state: 'PENDING', times: { cancelled: cancelled.timestamp } })
})
