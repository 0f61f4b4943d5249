/** What is on its way to RabbitMQ: how much of it, and for how long. */
import { beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'
import { FaultProxy } from '../../harness/fault-proxy.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../../rabbit.js'
import { Peek, transportTo } from '../amqp-broker.js'

describe.skipIf(withoutRabbit())('publishing to RabbitMQ', () => {
  let host: VirtualHost
  beforeAll(async () => {
    host = await virtualHost()
  }, 120_000)

  test('no more than publishWindow messages are out unconfirmed; the others follow as they are, and none is later than its deadline', async () => {
    await using proxy = await FaultProxy.to(Number(new URL(host.url).port))
    await using peek = await Peek.open(host.url)
    const { api } = await peek.link.openChannel()
    const connection = await transportTo(proxy.url(host.url), systemClock, { publishWindow: 3 }).connect({
      signal: AbortSignal.timeout(10_000),
    })
    try {
      await connection.declare(topology(queue('window')))
      const to = { exchange: '', routingKey: 'window' }
      const waiting = async (): Promise<number> => (await api.checkQueue('window')).messageCount
      await connection.publish(message(), to, { deadlineMs: 20_000 })
      proxy.set({ down: { flow: 'hold' } })
      const send = (count: number, deadlineMs: number) =>
        Promise.allSettled(Array.from({ length: count }, () => connection.publish(message(), to, { deadlineMs })))
      // Two of three places are left to those that have no time: of these, one more waits for a place.
      const [patient, hasty] = [send(1, 30_000), send(3, 1_000)]
      const ends = (await hasty).map((end) => (end.status === 'rejected' ? end.reason.code : end.status))
      expect(ends).toEqual(['ERR_PUBLISH_UNCERTAIN', 'ERR_PUBLISH_UNCERTAIN', 'ERR_NOT_PUBLISHED'])
      expect(await waiting()).toBe(4)
      const late = send(5, 30_000)
      expect(await waiting()).toBe(4)
      proxy.clear()
      for (const end of [...(await patient), ...(await late)]) expect(end.status).toBe('fulfilled')
      await until(async () => (await waiting()) === 9, 'all are there')
    } finally {
      await connection.close()
    }
  })
})
