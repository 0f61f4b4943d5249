/** What a transport that processes share promises when one of them dies, stands still or comes back. With real processes and real time. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import type { Connection } from '../../dist/transport.js'
import { openTransport } from '../../dist/transports/index.js'
import { OtherProcess } from './other-process.js'
import { Inbox, idOf, message, queue, topology } from './transport.js'
import { until } from './wait.js'

export interface SharedTransportDriver {
  readonly name: string
  /** A broker that is empty. Its leases live one second, and are looked after every 100 ms. */
  open(): Promise<{ readonly url: string; dispose(): Promise<void> }>
  readonly gaps?: Readonly<Record<string, string>>
}

export function testTransportProcesses(driver: SharedTransportDriver): void {
  const promise = (name: string, body: () => Promise<void>): void => {
    const reason = driver.gaps?.[name]
    if (reason === undefined) test(name, body, 30_000)
    else test.fails(`${name} (gap: ${reason})`, body, 30_000)
  }

  describe(`transport ${driver.name}, several processes`, () => {
    let broker: Awaited<ReturnType<SharedTransportDriver['open']>>
    let connection: Connection
    let processes: OtherProcess[]

    const start = async (): Promise<OtherProcess> => {
      const other = await OtherProcess.start(broker.url)
      processes.push(other)
      return other
    }
    const publish = (...ids: string[]): Promise<unknown> =>
      Promise.all(ids.map((id) => connection.publish(message({ id }), { exchange: '', routingKey: 'q' }, { deadlineMs: 20_000 })))

    beforeEach(async () => {
      broker = await driver.open()
      processes = []
      const transport = await openTransport(broker.url, { clock: systemClock })
      connection = await transport.connect({ signal: new AbortController().signal })
      await connection.declare(topology(queue('q')))
    })

    afterEach(async () => {
      await connection.close()
      for (const other of processes) await other.kill()
      await broker.dispose()
    })

    promise('a consumer is told of what another process publishes', async () => {
      const other = await start()
      other.send('consume', { queues: ['q'], prefetch: 10 })
      await other.tells('consuming')
      await publish('a')
      expect(await other.tells('delivery')).toMatchObject({ id: 'a', deliveries: 0, redelivered: false })
      const inbox = await Inbox.open(connection)
      await other.kill()
      processes = []
      const third = await start()
      third.send('publish', { queue: 'q', count: 3 })
      await inbox.gets(4)
    })

    promise('the messages of a killed process come back, counted once', async () => {
      const other = await start()
      await publish('a', 'b', 'c')
      other.send('consume', { queues: ['q'], prefetch: 2 })
      await other.tells('delivery', 2)
      const inbox = await Inbox.open(connection, { prefetch: 10 })
      await inbox.gets(1)
      await other.kill()
      const [c, ...back] = await inbox.gets(3)
      expect(c?.deliveries).toBe(0)
      expect(back.map((delivery) => [idOf(delivery), delivery.deliveries, delivery.redelivered])).toEqual([
        ['a', 1, true],
        ['b', 1, true],
      ])
    })

    promise('what was acked before the kill does not come back', async () => {
      const other = await start()
      await publish('a', 'b')
      other.send('consume', { queues: ['q'], prefetch: 2 })
      await other.tells('delivery', 2)
      other.send('ack', { id: 'a' })
      await until(async () => (await connection.locate('a')) === 'absent', 'the ack')
      await other.kill()
      const inbox = await Inbox.open(connection)
      await inbox.gets(1)
      expect(inbox.ids).toEqual(['b'])
    })

    promise('a message that kills 5 processes lies in the dead letters', async () => {
      await publish('poison', 'fine')
      const inbox = await Inbox.open(connection, { queues: ['q'], prefetch: 0 })
      for (let count = 0; count < 5; count++) {
        const other = await start()
        other.send('consume', { queues: ['q'], prefetch: 1 })
        expect(await other.tells('delivery')).toMatchObject({ id: 'poison', deliveries: count })
        await other.kill()
        await until(async () => (await connection.locate('poison')) !== 'leased', 'the reclaim')
      }
      expect(await connection.deadLetters.list()).toMatchObject([{ queue: 'q', deliveries: 5 }])
      inbox.consumer.setPrefetch(5)
      await inbox.gets(1)
      expect(inbox.ids).toEqual(['fine'])
    })

    promise('a process that stood still loses its deliveries, learns of it, and works on', async () => {
      const other = await start()
      await publish('a')
      other.send('consume', { queues: ['q'], prefetch: 2 })
      await other.tells('delivery')
      const inbox = await Inbox.open(connection, { prefetch: 1 })
      other.signal('SIGSTOP')
      const again = await inbox.gone(0)
      expect([idOf(again), again.deliveries, again.redelivered]).toEqual(['a', 1, true])
      // Its ack lies in its pipe: it is the first thing that it does when it goes on.
      other.send('ack', { id: 'a' })
      other.signal('SIGCONT')
      await until(async () => {
        other.send('counters')
        return other.of('counters').some((told) => told.lateSettlements === 1)
      }, 'the late ack is counted')
      expect(await connection.locate('a')).toBe('leased')
      expect(again.isLost).toBe(false)
      await publish('b')
      expect(await other.tells('delivery', 2)).toMatchObject({ id: 'b' })
      other.send('ack', { id: 'b' })
      again.ack()
      await until(async () => (await connection.locate('a')) === 'absent' && (await connection.locate('b')) === 'absent', 'both acks')
    })

    promise('a delivery that was lost while its process stood still says so without a settlement', async () => {
      const other = await start()
      await publish('a')
      other.send('consume', { queues: ['q'], prefetch: 2 })
      await other.tells('delivery')
      const inbox = await Inbox.open(connection, { prefetch: 1 })
      other.signal('SIGSTOP')
      await inbox.gets(1)
      other.signal('SIGCONT')
      expect(await other.tells('lost')).toMatchObject({ id: 'a' })
    })

    promise('a live process keeps its leases for many times their length', async () => {
      const other = await start()
      await publish('a')
      other.send('consume', { queues: ['q'], prefetch: 1 })
      await other.tells('delivery')
      const inbox = await Inbox.open(connection)
      const from = performance.now()
      await until(() => performance.now() - from > 3_000, 'three lease times')
      await inbox.gets(0)
    })

    promise('the private queue of a process that stood still is there again when it goes on', async () => {
      const other = await start()
      const bindings = [{ exchange: 'f', routingKey: '' }]
      const mailbox = topology(
        { name: 'f', type: 'fanout', durable: false, autoDelete: false },
        queue('mailbox', { autoDelete: true, bindings }),
      )
      other.send('declare', { topology: mailbox })
      await other.tells('declared')
      other.send('consume', { queues: ['q', 'mailbox'], prefetch: 5 })
      await other.tells('consuming')
      await Inbox.open(connection, { prefetch: 0 })
      other.signal('SIGSTOP')
      await until(
        () =>
          connection.publish(message(), { exchange: '', routingKey: 'mailbox' }, { deadlineMs: 1_000 }).then(
            () => false,
            () => true,
          ),
        'the queue goes with its consumer',
      )
      other.signal('SIGCONT')
      await until(
        () =>
          connection.publish(message({ id: 'hello' }), { exchange: '', routingKey: 'mailbox' }, { deadlineMs: 1_000 }).then(
            () => true,
            () => false,
          ),
        'the queue is there again',
      )
      expect(await other.tells('delivery')).toMatchObject({ id: 'hello' })
    })

    promise('close of one process gives its messages to another at once, uncounted', async () => {
      const other = await start()
      await publish('a')
      other.send('consume', { queues: ['q'], prefetch: 1 })
      await other.tells('delivery')
      const inbox = await Inbox.open(connection)
      other.send('close')
      await other.exited()
      expect((await inbox.gone(0)).deliveries).toBe(0)
    })
  })
}
