/**
 * What every transport promises (src/transport.ts, sentence by sentence). A driver's test names what it cannot do, with the reason; a named gap that starts
 * to pass fails. The promises about a lost process are in transport-processes.ts.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { newTaskId } from '../../dist/internal/task-id.js'
import type { Message } from '../../dist/protocol/message.js'
import type { Exchange, Queue, Topology } from '../../dist/protocol/topology.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import type { Connection, ConsumeOptions, Consumer, Delivery, Transport } from '../../dist/transport.js'
import { settled, until, within } from './wait.js'

export interface TransportDriver {
  readonly name: string
  /** A transport of a broker that is empty, and every transport of one `open` reaches the same broker. */
  open(clock: VirtualClock): Promise<OpenBroker>
  /** Promise -> why this transport cannot keep it. */
  readonly gaps?: Readonly<Record<string, string>>
}

export interface OpenBroker {
  transport(): Promise<Transport>
  /** Takes every lease away, as if those who hold them were found dead; where a driver has leases. */
  loseLeases?(): Promise<void>
  /** Lets time pass at the broker, where its clock is its own. The virtual clock moves besides. */
  pass?(ms: number): Promise<void>
  /** Where the message of a task is, for a test of a broker whose driver cannot look. */
  locate?(taskId: string): Promise<'waiting' | 'leased' | 'absent'>
  dispose(): Promise<void>
}

const deadlineMs = 30_000
const to = { exchange: '', routingKey: 'q' }
let lastId = 0

export function message(more: Partial<Message> & { readonly priority?: number; readonly id?: string } = {}): Message {
  const { priority, id = `task-${++lastId}`, ...rest } = more
  return {
    body: '[[2, 3], {}, null]',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { id, task: 'add', retries: 0 },
    properties: { correlationId: id, deliveryMode: 2, ...(priority === undefined ? {} : { priority }) },
    ...rest,
  }
}

export function queue(name: string, more: Partial<Queue> = {}): Queue {
  return { name, durable: true, exclusive: false, autoDelete: false, arguments: {}, bindings: [], ...more }
}

export function exchange(name: string, type: Exchange['type'], more: Partial<Exchange> = {}): Exchange {
  return { name, type, durable: true, autoDelete: false, ...more }
}

export function topology(...parts: (Queue | Exchange)[]): Topology {
  return {
    exchanges: parts.filter((part): part is Exchange => 'type' in part),
    queues: parts.filter((part): part is Queue => !('type' in part)),
  }
}

export function idOf(delivery: { readonly message: Message }): string {
  return String(delivery.message.headers.id)
}

/** A consumer that keeps what it gets. */
export class Inbox {
  readonly batches: (readonly Delivery[])[] = []
  readonly deliveries: Delivery[] = []
  // Set by `open`, before anybody has the object.
  consumer!: Consumer

  static async open(
    connection: Connection,
    options: Partial<Pick<ConsumeOptions, 'queues' | 'prefetch' | 'blocksUpToMs'>> = {},
  ): Promise<Inbox> {
    const inbox = new Inbox()
    inbox.consumer = await connection.consume({
      queues: ['q'],
      prefetch: 100,
      ...options,
      onDeliveries: (deliveries) => {
        inbox.batches.push(deliveries)
        inbox.deliveries.push(...deliveries)
      },
    })
    return inbox
  }

  get ids(): string[] {
    return this.deliveries.map(idOf)
  }

  async gets(count: number): Promise<Delivery[]> {
    await until(() => this.deliveries.length >= count, `${count} deliveries (${this.deliveries.length} came)`)
    await settled()
    expect(this.ids).toHaveLength(count)
    return this.deliveries
  }

  async gone(index: number): Promise<Delivery> {
    await this.gets(index + 1)
    const delivery = this.deliveries[index]
    if (delivery === undefined) throw new Error('there is no such delivery')
    return delivery
  }
}

export function testTransport(driver: TransportDriver): void {
  const promise = (name: string, body: () => Promise<void>): void => {
    const reason = driver.gaps?.[name]
    if (reason === undefined) test(name, body, 20_000)
    else test.fails(`${name} (gap: ${reason})`, body, 5_000)
  }

  describe(`transport ${driver.name}`, () => {
    let clock: VirtualClock
    let broker: OpenBroker
    let connections: Connection[]
    let connection: Connection

    const connect = async (): Promise<Connection> => {
      const opened = await (await broker.transport()).connect({ signal: new AbortController().signal })
      connections.push(opened)
      return opened
    }
    const publish = (sent: Message, to: { exchange?: string; routingKey?: string; notBefore?: number } = {}): Promise<void> => {
      const { exchange: name = '', routingKey = 'q', ...options } = to
      return connection.publish(sent, { exchange: name, routingKey }, { deadlineMs, ...options })
    }
    /** Time passes, here and at the broker. */
    const pass = async (ms: number): Promise<void> => {
      await broker.pass?.(ms)
      await clock.moveTo(clock.now() + ms)
    }
    const locate = (taskId: string): Promise<'waiting' | 'leased' | 'absent' | 'unknown'> =>
      broker.locate?.(taskId) ?? connection.locate(taskId)
    const publishIds = async (...ids: string[]): Promise<void> => {
      await Promise.all(ids.map((id) => publish(message({ id }))))
    }

    beforeEach(async () => {
      clock = new VirtualClock()
      broker = await driver.open(clock)
      connections = []
      connection = await connect()
      await connection.declare(topology(queue('q')))
    })

    afterEach(async () => {
      for (const opened of connections) await opened.close()
      await broker.dispose()
    })

    // ── publishing ───────────────────────────────────────────────────────────

    promise('a message arrives as it was sent: text', async () => {
      const sent = message({ body: '["\\u0000 ü 😀 \u2028", {"a": 12345678901234567890}]', id: 'x' })
      await publish(sent)
      const delivery = await (await Inbox.open(connection)).gone(0)
      expect(delivery.message).toEqual(sent)
      expect([delivery.queue, delivery.exchange, delivery.routingKey]).toEqual(['q', '', 'q'])
      expect([delivery.redelivered, delivery.deliveries, delivery.isLost]).toEqual([false, 0, false])
    })

    promise('a message arrives as it was sent: bytes', async () => {
      const pool = Buffer.from('xx\0\xff\xfe\x80yy', 'latin1')
      await publish(message({ body: pool.subarray(2, 6), contentType: 'application/x-msgpack', contentEncoding: 'binary' }))
      await publish(message({ body: new Uint8Array(0), contentEncoding: 'binary' }))
      await publish(message({ body: '' }))
      const [bytes, empty, text] = await (await Inbox.open(connection)).gets(3)
      expect(bytes?.message.body).toBeInstanceOf(Uint8Array)
      expect(Buffer.from(bytes?.message.body ?? '').toString('hex')).toBe('00fffe80')
      expect(empty?.message.body).toEqual(new Uint8Array(0))
      expect(text?.message.body).toBe('')
    })

    promise('what a sender changes after publishing does not change the message', async () => {
      const body = new Uint8Array([1, 2])
      const headers: Record<string, unknown> = { id: 'x', n: [1] }
      const sending = publish(message({ body, headers, contentEncoding: 'binary' }))
      await sending
      body[0] = 9
      ;(headers.n as number[])[0] = 9
      const delivery = await (await Inbox.open(connection)).gone(0)
      expect(delivery.message.body).toEqual(new Uint8Array([1, 2]))
      expect(delivery.message.headers).toEqual({ id: 'x', n: [1] })
    })

    promise('messages come in the order in which they were published', async () => {
      const ids = Array.from({ length: 500 }, (_, index) => `n${index}`)
      await publishIds(...ids.slice(0, 250))
      await publishIds(...ids.slice(250))
      const inbox = await Inbox.open(connection, { prefetch: 1_000 })
      await inbox.gets(500)
      expect(inbox.ids).toEqual(ids)
    })

    promise('deliveries come in batches', async () => {
      await publishIds('a', 'b', 'c', 'd')
      const inbox = await Inbox.open(connection)
      await inbox.gets(4)
      expect(inbox.ids).toEqual(['a', 'b', 'c', 'd'])
      // How many at once, a broker that sends by itself decides.
      expect(inbox.batches.length).toBeLessThan(4)
    })

    promise('the default exchange refuses a queue that nobody declared', async () => {
      await expect(publish(message(), { routingKey: 'nowhere' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    })

    promise('one message that cannot be published does not stop the others of its tick', async () => {
      const outcomes = await Promise.allSettled([
        publish(message({ id: 'a' })),
        publish(message(), { routingKey: 'nowhere' }),
        publish(message({ id: 'b' })),
      ])
      expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      const inbox = await Inbox.open(connection)
      await inbox.gets(2)
      expect(inbox.ids).toEqual(['a', 'b'])
    })

    promise('behind a fence one message of a number is published, whoever tries and how often', async () => {
      const other = await connect()
      const fences = [
        { key: 'leader', order: 2, again: true },
        { key: 'firing', order: 1_700_000_000_000 },
      ]
      const tries = await Promise.allSettled(
        [connection, other, connection].map((each, index) => each.publish(message({ id: `try-${index}` }), to, { deadlineMs, fences })),
      )
      expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      expect(tries.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []))).toEqual(['ERR_FENCED', 'ERR_FENCED'])
      await other.publish(message(), to, { deadlineMs, fences: [{ key: 'firing', order: 1_700_000_000_001 }] })
      expect(await connection.size('q')).toBe(2)
    })

    promise('a fence that was raised holds what has an older number, and a held message passes no other fence', async () => {
      const other = await connect()
      await other.raiseFences?.([{ key: 'leader', order: 3, again: true }])
      const late = {
        deadlineMs,
        fences: [
          { key: 'firing', order: 5 },
          { key: 'leader', order: 2, again: true },
        ],
      }
      await expect(connection.publish(message(), to, late)).rejects.toMatchObject({ code: 'ERR_FENCED', key: 'leader' })
      await expect(connection.raiseFences?.([{ key: 'leader', order: 2, again: true }])).rejects.toMatchObject({ code: 'ERR_FENCED' })
      await connection.raiseFences?.([{ key: 'leader', order: 3, again: true }])
      await other.publish(message(), to, {
        deadlineMs,
        fences: [
          { key: 'firing', order: 5 },
          { key: 'leader', order: 3, again: true },
        ],
      })
      expect(await connection.size('q')).toBe(1)
    })

    promise('a header that cannot be written rejects its own message alone', async () => {
      const noData = {
        toJSON() {
          throw new Error('this is no data')
        },
      }
      const outcomes = await Promise.allSettled([publish(message({ headers: { id: noData } })), publish(message({ id: 'a' }))])
      expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'fulfilled'])
      expect(await connection.size('q')).toBe(1)
    })

    promise('a message whose expiration is over is delivered: its worker tells the end', async () => {
      const expiring = message({ id: 'a' })
      await publish({ ...expiring, properties: { ...expiring.properties, expiration: '1000' } })
      await pass(1_000)
      const inbox = await Inbox.open(connection)
      await inbox.gets(1)
      expect(inbox.ids).toEqual(['a'])
    })

    promise('a queue with x-message-ttl drops what waits longer', async () => {
      await connection.declare(topology(queue('short', { arguments: { 'x-message-ttl': 500 } })))
      await publish(message(), { routingKey: 'short' })
      await pass(500)
      const inbox = await Inbox.open(connection, { queues: ['short'] })
      await publish(message({ id: 'late' }), { routingKey: 'short' })
      await inbox.gets(1)
      expect(inbox.ids).toEqual(['late'])
    })

    promise('a queue with x-max-length or x-max-length-bytes keeps the latest that it has room for', async () => {
      const limited = (name: string, limits: Queue['arguments']): Queue => queue(name, { arguments: limits })
      await connection.declare(topology(limited('short', { 'x-max-length': 3 }), limited('p', { 'x-max-length-bytes': 100 })))
      for (const id of ['a', 'b', 'c', 'd', 'e']) {
        await publish(message({ id }), { routingKey: 'short' })
        await publish(message({ id, body: '[[], {}, null]'.padEnd(40) }), { routingKey: 'p' })
      }
      const inbox = await Inbox.open(connection, { queues: ['short'] })
      const other = await Inbox.open(connection, { queues: ['p'] })
      await inbox.gets(3)
      await other.gets(2)
      expect([inbox.ids, other.ids]).toEqual([
        ['c', 'd', 'e'],
        ['d', 'e'],
      ])
    })

    promise('a queue with x-overflow: reject-publish takes no more than it has room for', async () => {
      await connection.declare(topology(queue('short', { arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' } })))
      const taken: string[] = []
      let refused: unknown
      // A quorum queue notices some messages later that it is full.
      for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) {
        try {
          await publish(message({ id }), { routingKey: 'short' })
          taken.push(id)
        } catch (error) {
          refused = error
          break
        }
      }
      expect(refused).toMatchObject({ code: 'ERR_BROKER_FULL' })
      expect(taken.slice(0, 2)).toEqual(['a', 'b'])
      const inbox = await Inbox.open(connection, { queues: ['short'] })
      await inbox.gets(taken.length)
      expect(inbox.ids).toEqual(taken)
    })

    // ── consuming ────────────────────────────────────────────────────────────

    promise('a consumer that waits is told of a message of another connection', async () => {
      const inbox = await Inbox.open(await connect())
      await settled()
      await publishIds('a')
      await inbox.gets(1)
    })

    promise('never more than prefetch are out, and each settlement frees a place', async () => {
      await publishIds('a', 'b', 'c', 'd', 'e')
      const inbox = await Inbox.open(connection, { prefetch: 2 })
      await inbox.gets(2)
      inbox.deliveries[0]?.ack()
      await inbox.gets(3)
      inbox.deliveries[1]?.ack()
      inbox.deliveries[2]?.ack()
      await inbox.gets(5)
      expect(inbox.ids).toEqual(['a', 'b', 'c', 'd', 'e'])
    })

    promise('prefetch can be raised and lowered while messages are out', async () => {
      await publishIds('a', 'b', 'c', 'd', 'e')
      const inbox = await Inbox.open(connection, { prefetch: 1 })
      await inbox.gets(1)
      inbox.consumer.setPrefetch(3)
      await inbox.gets(3)
      inbox.consumer.setPrefetch(1)
      inbox.deliveries[0]?.ack()
      inbox.deliveries[1]?.ack()
      await inbox.gets(3)
      inbox.deliveries[2]?.ack()
      await inbox.gets(4)
      inbox.consumer.setPrefetch(0)
      inbox.deliveries[3]?.ack()
      await inbox.gets(4)
      inbox.consumer.setPrefetch(1)
      await inbox.gets(5)
    })

    promise('messages come by priority, and messages of one priority in order', async () => {
      await connection.declare(topology(queue('p', { arguments: { 'x-max-priority': 10 } })))
      for (const [id, priority] of Object.entries({ a: 0, b: 5, c: 9, d: 5, e: 0 }))
        await publish(message({ id, priority }), { routingKey: 'p' })
      const inbox = await Inbox.open(connection, { queues: ['p'] })
      await inbox.gets(5)
      const order = (await broker.transport()).supports.priority === 'lower-first' ? ['a', 'e', 'b', 'd', 'c'] : ['c', 'b', 'd', 'a', 'e']
      expect(inbox.ids).toEqual(order)
    })

    promise('two consumers share a queue, and nobody gets what the other has', async () => {
      const inboxes = [await Inbox.open(await connect(), { prefetch: 10 }), await Inbox.open(await connect(), { prefetch: 10 })]
      const seen: string[] = []
      for (const inbox of inboxes) {
        const push = inbox.deliveries.push.bind(inbox.deliveries)
        inbox.deliveries.push = (...deliveries) => {
          for (const delivery of deliveries) {
            seen.push(idOf(delivery))
            delivery.ack()
          }
          return push(...deliveries)
        }
      }
      const ids = Array.from({ length: 300 }, (_, index) => `n${index}`)
      await publishIds(...ids)
      await until(() => seen.length >= 300, '300 deliveries')
      await settled()
      expect([...seen].sort()).toEqual([...ids].sort())
    })

    promise('every queue of a consumer gets its turn', async () => {
      await connection.declare(topology(queue('r')))
      for (let index = 0; index < 20; index++) await publish(message({ id: `q${index}` }))
      await publish(message({ id: 'r' }), { routingKey: 'r' })
      const inbox = await Inbox.open(connection, { queues: ['q', 'r'], prefetch: 1 })
      // A broker may choose by chance.
      for (let index = 0; index < 16; index++) {
        await until(() => inbox.deliveries.length > index, 'a delivery')
        inbox.deliveries[index]?.ack()
      }
      expect(inbox.ids.slice(0, 16)).toContain('r')
    })

    promise('queues can be added to a consumer and taken from it', async () => {
      await connection.declare(topology(queue('r')))
      await publish(message({ id: 'r1' }), { routingKey: 'r' })
      const inbox = await Inbox.open(connection)
      await inbox.consumer.addQueue('r')
      await inbox.gets(1)
      await inbox.consumer.cancelQueue('r')
      await publish(message({ id: 'r2' }), { routingKey: 'r' })
      await publishIds('q1')
      await inbox.gets(2)
      expect(inbox.ids).toEqual(['r1', 'q1'])
    })

    promise('a queue that nobody declared cannot be consumed', async () => {
      await expect(Inbox.open(connection, { queues: ['nowhere'] })).rejects.toMatchObject({ code: 'ERR_QUEUE_MISSING' })
      const inbox = await Inbox.open(connection)
      await expect(inbox.consumer.addQueue('nowhere')).rejects.toMatchObject({ code: 'ERR_QUEUE_MISSING' })
      await publishIds('a')
      await inbox.gets(1)
    })

    promise('nothing comes after cancel, and what is out can still be settled', async () => {
      await publishIds('a', 'b')
      const inbox = await Inbox.open(connection, { prefetch: 1 })
      await inbox.gets(1)
      const cancelling = inbox.consumer.cancel()
      await inbox.consumer.cancel()
      await cancelling
      inbox.deliveries[0]?.ack()
      await inbox.gets(1)
      await until(async () => (await locate('a')) === 'absent', 'the ack')
      expect([await connection.size('q'), await locate('b')]).toEqual([1, 'waiting'])
    })

    // ── settling ─────────────────────────────────────────────────────────────

    promise('an acked message is gone', async () => {
      await publishIds('a')
      const inbox = await Inbox.open(connection)
      const delivery = await inbox.gone(0)
      delivery.ack()
      await until(async () => (await locate('a')) === 'absent', 'the ack')
      await connection.close()
      connection = await connect()
      await Inbox.open(connection).then((again) => again.gets(0))
      expect(await connection.size('q')).toBe(0)
    })

    promise('a released message comes back to its place, uncounted', async () => {
      await publishIds('a', 'b', 'c')
      const first = await Inbox.open(connection, { prefetch: 1 })
      const delivery = await first.gone(0)
      await first.consumer.cancel()
      delivery.release()
      await until(async () => (await connection.size('q')) === 3, 'the release')
      const second = await Inbox.open(connection)
      const [again] = await second.gets(3)
      expect(second.ids).toEqual(['a', 'b', 'c'])
      expect([again?.redelivered, again?.deliveries]).toEqual([true, 0])
    })

    promise('a counted release raises the deliveries; at the limit of 5 the message goes to the dead letters', async () => {
      await publish(message({ id: 'poison', body: '"p"' }))
      const inbox = await Inbox.open(connection)
      for (let count = 0; count < 5; count++) {
        const delivery = await inbox.gone(count)
        expect(delivery.deliveries).toBe(count)
        delivery.release({ counted: true })
      }
      await until(async () => (await connection.deadLetters.count()) === 1, 'the dead letter')
      await inbox.gets(5)
      const [letter] = await connection.deadLetters.list()
      expect(letter).toMatchObject({ queue: 'q', deliveries: 5, message: { body: '"p"' } })
    })

    promise('only the first settling call counts', async () => {
      await publishIds('a')
      const inbox = await Inbox.open(connection)
      const delivery = await inbox.gone(0)
      delivery.ack()
      delivery.release()
      delivery.reject('no')
      delivery.defer(0)
      await until(async () => (await locate('a')) === 'absent', 'the ack')
      await inbox.gets(1)
      expect([await connection.deadLetters.count(), await connection.size('q'), connection.counters.lateSettlements]).toEqual([0, 0, 0])
    })

    promise('a rejected message lies in the dead letters with its original bytes', async () => {
      const sent = message({ id: 'bad', body: new Uint8Array([0, 255, 1]), contentType: 'application/x-what', contentEncoding: 'binary' })
      await publish(sent)
      await connection.declare(topology(queue('r')))
      await publish(message({ id: 'other' }), { routingKey: 'r' })
      const inbox = await Inbox.open(connection, { queues: ['q', 'r'] })
      for (const delivery of await inbox.gets(2)) delivery.reject(`cannot read ${delivery.queue}`)
      await until(async () => (await connection.deadLetters.count()) === 2, 'the dead letters')
      const [letter, ...more] = await connection.deadLetters.list({ queue: 'q' })
      expect(more).toEqual([])
      expect(letter).toMatchObject({ queue: 'q', reason: 'cannot read q', diedAtMs: clock.now(), deliveries: 0, message: sent })
      expect(await connection.deadLetters.list({ limit: 1 })).toHaveLength(1)
      expect([await connection.size('q'), await locate('bad')]).toEqual([0, 'absent'])
    })

    promise('a dead letter can be replayed, once, with its count at 0', async () => {
      await publishIds('a')
      const inbox = await Inbox.open(connection)
      ;(await inbox.gone(0)).reject('why')
      await until(async () => (await connection.deadLetters.count()) === 1, 'the dead letter')
      const [letter] = await connection.deadLetters.list()
      const id = letter?.id ?? ''
      expect(await connection.deadLetters.replay(id)).toBe(true)
      expect(await connection.deadLetters.replay(id)).toBe(false)
      const again = await inbox.gone(1)
      expect([idOf(again), again.deliveries, again.redelivered]).toEqual(['a', 0, true])
      expect(await connection.deadLetters.count()).toBe(0)
    })

    promise('a dead letter can be dropped; unknown ones are told', async () => {
      await publishIds('a')
      ;(await (await Inbox.open(connection)).gone(0)).reject('why')
      await until(async () => (await connection.deadLetters.count()) === 1, 'the dead letter')
      const [letter] = await connection.deadLetters.list()
      expect(await connection.deadLetters.drop(letter?.id ?? '')).toBe(true)
      expect(await connection.deadLetters.drop(letter?.id ?? '')).toBe(false)
      expect(await connection.deadLetters.drop('no such id')).toBe(false)
      expect(await connection.deadLetters.replay('999999')).toBe(false)
      expect(await connection.deadLetters.count()).toBe(0)
    })

    promise('dead letters are shown one after the other, the oldest first, and each can be replayed or dropped meanwhile', async () => {
      const ids = Array.from({ length: 25 }, (_, index) => `dead-${index}`)
      const inbox = await Inbox.open(connection)
      for (const id of ids) await publishIds(id)
      for (const delivery of await inbox.gets(25)) {
        delivery.reject(`why ${idOf(delivery)}`)
        // One after the other, and each in its time.
        await clock.moveTo(clock.now() + 1)
        await until(async () => (await connection.deadLetters.count()) > inbox.deliveries.indexOf(delivery), 'the dead letter')
      }
      const shown: string[] = []
      await connection.deadLetters.visit(async (letter, { replay, drop }) => {
        shown.push(idOf(letter))
        if (shown.length === 2) expect([await replay(), await replay(), await drop()]).toEqual([true, false, false])
        if (shown.length === 23) expect([await drop(), await drop()]).toEqual([true, false])
        return shown.length < 24
      })
      expect(shown).toEqual(ids.slice(0, 24))
      expect(idOf(await inbox.gone(25))).toBe('dead-1')
      await until(async () => (await connection.deadLetters.count()) === 23, 'two are gone')
      const left = await connection.deadLetters.list({ limit: 3 })
      expect(left.map(idOf)).toEqual(['dead-0', 'dead-2', 'dead-3'])
    })

    promise('a deferred message frees its place at once and comes back when it is due', async () => {
      await publishIds('a', 'b')
      const inbox = await Inbox.open(connection, { prefetch: 1 })
      ;(await inbox.gone(0)).defer(clock.now() + 60_000)
      await inbox.gets(2)
      expect(inbox.ids).toEqual(['a', 'b'])
      inbox.deliveries[1]?.ack()
      await until(async () => (await locate('b')) === 'absent', 'the ack')
      expect([await connection.size('q'), await connection.size('q', { due: true }), await locate('a')]).toEqual([1, 0, 'waiting'])
      await pass(59_000)
      await inbox.gets(2)
      await pass(1_000)
      const again = await inbox.gone(2)
      expect([idOf(again), again.deliveries]).toEqual(['a', 0])
    })

    promise('a message that is deferred into the past comes back at once', async () => {
      await publishIds('a')
      const inbox = await Inbox.open(connection)
      ;(await inbox.gone(0)).defer(clock.now() - 1)
      await pass(1)
      await inbox.gets(2)
    })

    // ── time ─────────────────────────────────────────────────────────────────

    promise('a message is not delivered before notBefore, and at once then', async () => {
      const inbox = await Inbox.open(connection)
      await publish(message({ id: 'later' }), { notBefore: clock.now() + 40 * 86_400_000 })
      await publish(message({ id: 'soon' }), { notBefore: clock.now() + 1_000 })
      await publish(message({ id: 'past' }), { notBefore: clock.now() - 1 })
      await inbox.gets(1)
      expect([await connection.size('q'), await locate('soon')]).toEqual([2, 'waiting'])
      await pass(999)
      await inbox.gets(1)
      await pass(1)
      await inbox.gets(2)
      expect(inbox.ids).toEqual(['past', 'soon'])
    })

    promise('what came due while nobody consumed is delivered to the first that does', async () => {
      await publish(message({ id: 'b' }), { notBefore: clock.now() + 2_000 })
      await publish(message({ id: 'a' }), { notBefore: clock.now() + 1_000 })
      await pass(5_000)
      const inbox = await Inbox.open(connection)
      await inbox.gets(2)
      expect(inbox.ids).toEqual(['a', 'b'])
    })

    promise('a delayed message of another connection wakes a consumer on time', async () => {
      const inbox = await Inbox.open(await connect())
      await settled()
      await publish(message(), { notBefore: clock.now() + 5_000 })
      await settled()
      await pass(5_000)
      await inbox.gets(1)
    })

    // ── exchanges ────────────────────────────────────────────────────────────

    promise('a direct exchange routes by its key', async () => {
      const to = (routingKey: string): Queue['bindings'] => [{ exchange: 'x', routingKey }]
      await connection.declare(topology(exchange('x', 'direct'), queue('a', { bindings: to('ka') }), queue('b', { bindings: to('kb') })))
      await publish(message({ id: '1' }), { exchange: 'x', routingKey: 'kb' })
      expect([await connection.size('a'), await connection.size('b')]).toEqual([0, 1])
      const delivery = await (await Inbox.open(connection, { queues: ['b'] })).gone(0)
      expect([delivery.exchange, delivery.routingKey]).toEqual(['x', 'kb'])
      await expect(publish(message(), { exchange: 'x', routingKey: 'kc' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    })

    promise('a topic exchange routes by its patterns, to each queue once', async () => {
      const bind = (...keys: string[]): Queue['bindings'] => keys.map((routingKey) => ({ exchange: 't', routingKey }))
      await connection.declare(
        topology(
          exchange('t', 'topic'),
          queue('all', { bindings: bind('#', 'task.*') }),
          queue('tasks', { bindings: bind('task.*') }),
          queue('w', { bindings: bind('worker.#') }),
        ),
      )
      for (const routingKey of ['task.sent', 'worker.heartbeat', 'task', 'other.thing'])
        await publish(message(), { exchange: 't', routingKey })
      expect([await connection.size('all'), await connection.size('tasks'), await connection.size('w')]).toEqual([4, 1, 1])
    })

    promise('# in a topic pattern stands for no word, too', async () => {
      await connection.declare(topology(exchange('t', 'topic'), queue('w', { bindings: [{ exchange: 't', routingKey: 'worker.#' }] })))
      await publish(message(), { exchange: 't', routingKey: 'worker' })
      expect(await connection.size('w')).toBe(1)
    })

    promise('a fanout exchange copies to every queue, and to none is fine', async () => {
      await connection.declare(topology(exchange('f', 'fanout')))
      await publish(message(), { exchange: 'f', routingKey: '' })
      const bindings = [{ exchange: 'f', routingKey: '' }]
      await connection.declare(topology(queue('a', { bindings }), queue('b', { bindings })))
      await publish(message(), { exchange: 'f', routingKey: 'whatever' })
      expect([await connection.size('a'), await connection.size('b')]).toEqual([1, 1])
    })

    promise('an exchange that nobody declared refuses messages', async () => {
      await expect(publish(message(), { exchange: 'nowhere' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    })

    promise('declaring again is fine; with other properties it names both', async () => {
      await connection.declare(topology(queue('q'), exchange('x', 'topic')))
      await (await connect()).declare(topology(queue('q'), exchange('x', 'topic')))
      await expect(connection.declare(topology(queue('q', { arguments: { 'x-max-priority': 3 } })))).rejects.toThrow(
        /"q".*exists.*declared.*x-max-priority"?: ?3/,
      )
      await expect(connection.declare(topology(exchange('x', 'fanout')))).rejects.toMatchObject({ code: 'ERR_DECLARATION_MISMATCH' })
    })

    promise('names are checked before anything is declared', async () => {
      for (const name of ['', 'a\nb', 'x'.repeat(256)]) {
        await expect(connection.declare(topology(queue('fine'), queue(name)))).rejects.toMatchObject({ code: 'ERR_NAME_INVALID' })
      }
      await expect(publish(message(), { routingKey: 'fine' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    })

    promise('an exclusive queue is for its connection alone, and goes with it', async () => {
      const mine = queue('mine', { exclusive: true })
      await connection.declare(topology(mine))
      const other = await connect()
      await expect(Inbox.open(other, { queues: ['mine'] })).rejects.toMatchObject({ code: 'ERR_QUEUE_MISSING' })
      await expect(other.declare(topology(mine))).rejects.toMatchObject({ code: 'ERR_DECLARATION_MISMATCH' })
      await other.publish(message(), { exchange: '', routingKey: 'mine' }, { deadlineMs })
      await (await Inbox.open(connection, { queues: ['mine'] })).gets(1)
      await connection.close()
      await expect(other.publish(message(), { exchange: '', routingKey: 'mine' }, { deadlineMs })).rejects.toMatchObject({
        code: 'ERR_NOT_PUBLISHED',
      })
    })

    promise('an auto-delete queue goes with its last consumer, and its exchange with it', async () => {
      const bindings = [{ exchange: 'f', routingKey: '' }]
      await connection.declare(topology(exchange('f', 'fanout', { autoDelete: true }), queue('a', { autoDelete: true, bindings })))
      const [one, two] = [await Inbox.open(connection, { queues: ['a'] }), await Inbox.open(await connect(), { queues: ['a'] })]
      await one.consumer.cancel()
      await publish(message(), { exchange: 'f' })
      await two.gets(1)
      await two.consumer.cancelQueue('a')
      await expect(publish(message(), { routingKey: 'a' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
      await expect(publish(message(), { exchange: 'f' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    })

    promise('a queue with x-expires goes when nobody consumed it for that long', async () => {
      await Inbox.open(connection)
      await connection.declare(
        topology(queue('e', { arguments: { 'x-expires': 1_000 } }), queue('used', { arguments: { 'x-expires': 1_000 } })),
      )
      await Inbox.open(connection, { queues: ['used'] })
      for (let step = 0; step < 40; step++) {
        await pass(250)
        await settled()
      }
      await expect(publish(message(), { routingKey: 'e' })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
      await publish(message(), { routingKey: 'used' })
    })

    // ── looking ──────────────────────────────────────────────────────────────

    promise('purge removes what waits and tells how many, but not what is out', async () => {
      await publishIds('a', 'b', 'c')
      const inbox = await Inbox.open(connection, { prefetch: 1 })
      await inbox.gets(1)
      await publish(message(), { notBefore: clock.now() + 1_000 })
      expect(await connection.size('q')).toBe(3)
      expect(await connection.purge('q')).toBe(3)
      expect([await connection.size('q'), await connection.purge('q')]).toEqual([0, 0])
      inbox.deliveries[0]?.release()
      const again = await inbox.gone(1)
      expect(idOf(again)).toBe('a')
    })

    promise('locate tells where the message of a task is', async () => {
      await publishIds('a', 'b')
      expect([await connection.locate('a'), await connection.locate('nobody')]).toEqual(['waiting', 'absent'])
      await (await Inbox.open(connection, { prefetch: 1 })).gets(1)
      expect([await connection.locate('a'), await connection.locate('b')]).toEqual(['leased', 'waiting'])
    })

    promise('the size of a queue that is not there is 0', async () => {
      expect([await connection.size('nowhere'), await connection.purge('nowhere')]).toEqual([0, 0])
    })

    promise('the facts of a queue tell what waits, and what is out where the broker can tell', async () => {
      const before = clock.now()
      await publishIds('a', 'b', 'c')
      await (await Inbox.open(connection, { prefetch: 1 })).gets(1)
      await until(async () => (await connection.queues.facts('q')).waiting === 2, 'two wait')
      const { leased, consumers, delayed, oldestAtMs } = await connection.queues.facts('q')
      expect([1, undefined]).toContain(leased)
      expect([1, undefined]).toContain(consumers)
      expect([0, undefined]).toContain(delayed)
      if (oldestAtMs !== undefined) expect(oldestAtMs).toBeGreaterThanOrEqual(before)
      expect(await connection.queues.facts('nowhere')).toMatchObject({ waiting: 0, oldestAtMs: undefined })
    })

    promise('since when the oldest message waits is told as `supports` says', async () => {
      const { queueAge } = (await broker.transport()).supports
      const before = clock.now()
      expect(await connection.queues.oldestAtMs('q')).toBeUndefined()
      await publish(message({ id: newTaskId(before), priority: 0 }))
      await publish(message({ id: newTaskId(before + 5_000), priority: 5 }))
      const oldestAtMs = await connection.queues.oldestAtMs('q')
      if (queueAge === 'none') expect(oldestAtMs).toBeUndefined()
      else expect(oldestAtMs).toBe(before)
      expect((await connection.queues.facts('q')).oldestAtMs).toBe(oldestAtMs)
    })

    promise('a queue stays paused for whoever comes later, with its last note, until it is resumed', async () => {
      await connection.queues.pause('q', '{"by":"one"}')
      await connection.queues.pause('q', '{"by":"two"}')
      await connection.close()
      connection = await connect()
      expect(await connection.queues.paused(['p', 'q'])).toEqual(new Map([['q', '{"by":"two"}']]))
      // Being looked at changes nothing.
      expect(await connection.queues.paused(['q'])).toEqual(new Map([['q', '{"by":"two"}']]))
      expect([await connection.queues.resume('q'), await connection.queues.resume('q')]).toEqual([true, false])
      expect(await connection.queues.paused(['p', 'q'])).toEqual(new Map())
    })

    promise('what waits for its time can be hurried', async () => {
      expect(await connection.queues.hurry('nowhere')).toBe(0)
      const inbox = await Inbox.open(connection)
      await publishIds('a')
      ;(await inbox.gone(0)).defer(clock.now() + 3_600_000)
      await until(async () => (await connection.size('q')) === 1, 'it waits')
      expect(await connection.queues.hurry('q')).toBe(1)
      await clock.moveTo(clock.now() + 1_000)
      expect(idOf(await inbox.gone(1))).toBe('a')
    })

    promise('the server tells of itself', async () => {
      const { server, findings } = await connection.examine()
      expect(server).toMatch(/memory|SQLite 3|Redis \d|RabbitMQ \d/)
      for (const { about, evidence, level, fix } of findings) {
        expect([typeof about, typeof evidence]).toEqual(['string', 'string'])
        expect(fix === undefined).toBe(level === 'fine' || level === 'unknown')
      }
    })

    // ── the end of a connection ──────────────────────────────────────────────

    promise('close gives back what is out, uncounted and in its place', async () => {
      await publishIds('a', 'b', 'c')
      const inbox = await Inbox.open(connection, { prefetch: 2 })
      const [first] = await inbox.gets(2)
      await connection.close()
      expect(first?.isLost).toBe(true)
      connection = await connect()
      const again = await Inbox.open(connection)
      const deliveries = await again.gets(3)
      expect(again.ids).toEqual(['a', 'b', 'c'])
      expect(deliveries.map((delivery) => [delivery.redelivered, delivery.deliveries])).toEqual([
        [true, 0],
        [true, 0],
        [false, 0],
      ])
    })

    promise('a connection that waits gets what another one gives back at its close', async () => {
      await publishIds('a')
      await (await Inbox.open(connection)).gets(1)
      const waiting = await Inbox.open(await connect())
      await settled()
      await connection.close()
      await waiting.gets(1)
    })

    promise('pending publishes and settlements are written before close settles', async () => {
      await publishIds('a')
      const inbox = await Inbox.open(connection)
      const delivery = await inbox.gone(0)
      const publishing = publish(message({ id: 'b' }))
      delivery.ack()
      await Promise.all([publishing, connection.close()])
      connection = await connect()
      expect([await locate('a'), await locate('b')]).toEqual(['absent', 'waiting'])
    })

    promise('close is safe twice, and then everything says so', async () => {
      expect(connection.isAnswering).toBe(true)
      const inbox = await Inbox.open(connection)
      await Promise.all([connection.close(), connection.close()])
      await connection.close()
      expect(connection.isAnswering).toBe(false)
      expect(await within(connection.closed, 'closed')).toBeUndefined()
      await expect(publish(message())).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
      await expect(connection.declare(topology(queue('q')))).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
      await expect(Inbox.open(connection)).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
      await inbox.consumer.cancel()
    })

    promise('a settlement that comes after the close changes nothing and is counted', async () => {
      await publishIds('a')
      const delivery = await (await Inbox.open(connection)).gone(0)
      await connection.close()
      delivery.ack()
      delivery.ack()
      expect(connection.counters.lateSettlements).toBe(1)
      expect(delivery.isLost).toBe(true)
      connection = await connect()
      expect(await locate('a')).toBe('waiting')
    })

    promise('a connect that was aborted opens nothing', async () => {
      const transport = await broker.transport()
      await expect(transport.connect({ signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
    })

    promise('other connections go on when one is closed', async () => {
      const other = await connect()
      const inbox = await Inbox.open(other)
      await connection.close()
      await other.publish(message(), { exchange: '', routingKey: 'q' }, { deadlineMs })
      await inbox.gets(1)
    })
  })
}
