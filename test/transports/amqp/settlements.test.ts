import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { AmqpChannel, AmqpMessage, Tagged } from '../../../dist/internal/amqp/amqplib.js'
import { Settlements } from '../../../dist/transports/amqp/settlements.js'
import { settled } from '../../conformance/wait.js'

/** What a server makes of settlements: it ends the channel for a number that is not out. */
class Server {
  readonly out = new Set<number>()
  readonly acked: number[] = []
  readonly back: number[] = []
  frames = 0
  readonly api: AmqpChannel

  constructor() {
    const take = ({ fields: { deliveryTag } }: Tagged, to: number[], upTo = false): void => {
      this.frames++
      if (!this.out.has(deliveryTag)) throw new Error(`unknown delivery tag ${deliveryTag}`)
      for (const tag of upTo ? [...this.out].filter((each) => each <= deliveryTag) : [deliveryTag]) {
        this.out.delete(tag)
        to.push(tag)
      }
    }
    // What settling uses of a channel.
    this.api = {
      ack: (message: Tagged, upTo?: boolean) => take(message, this.acked, upTo),
      nack: (message: Tagged) => take(message, this.back),
      reject: (message: Tagged) => take(message, this.back),
    } as unknown as AmqpChannel // the rest of it is not called
  }
}

const message = (deliveryTag: number): AmqpMessage => ({ fields: { deliveryTag } }) as unknown as AmqpMessage // only its number counts

test('every delivery is settled once and as it was said, in any order and over any ticks', async () => {
  const action = fc.record({ which: fc.nat(), how: fc.constantFrom('ack', 'ack', 'ack', 'back', 'counted', 'tick', 'more') })
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 200 }), async (actions) => {
      const server = new Server()
      const settlements = new Settlements(server.api)
      const open: number[] = []
      let last = 0
      const expected = { acked: new Set<number>(), back: new Set<number>() }
      const receive = (): void => {
        for (let n = 0; n < 5; n++) {
          const tag = ++last
          server.out.add(tag)
          open.push(tag)
          settlements.received(message(tag), 'q')
        }
      }
      receive()
      for (const { which, how } of actions) {
        if (how === 'more') receive()
        else if (how === 'tick') await new Promise((resolve) => setImmediate(resolve))
        else {
          const [tag] = open.splice(which % Math.max(1, open.length), 1)
          if (tag === undefined) continue
          if (how === 'ack') settlements.ack(message(tag))
          else settlements.giveBack(message(tag), { counted: how === 'counted' })
          expected[how === 'ack' ? 'acked' : 'back'].add(tag)
        }
      }
      await settled()
      expect(new Set(server.acked)).toEqual(expected.acked)
      expect(new Set(server.back)).toEqual(expected.back)
      expect([...server.out].sort((a, b) => a - b)).toEqual(open.sort((a, b) => a - b))
      expect(settlements.count).toBe(open.length)
    }),
    { numRuns: 300 },
  )
})

test('acks of a tick go out in one frame; one that waits holds up the others for a tick only', async () => {
  const server = new Server()
  const settlements = new Settlements(server.api)
  for (let tag = 1; tag <= 100; tag++) {
    server.out.add(tag)
    settlements.received(message(tag), 'q')
  }
  for (let tag = 1; tag <= 50; tag++) settlements.ack(message(tag))
  await settled()
  expect([server.frames, server.acked.length]).toEqual([1, 50])
  for (let tag = 52; tag <= 60; tag++) settlements.ack(message(tag))
  await settled()
  expect([server.frames, server.out.has(51), server.acked.length]).toEqual([10, true, 59])
})

test('nothing is said on a channel that is gone', () => {
  const server = new Server()
  const settlements = new Settlements(server.api)
  server.out.add(1)
  settlements.received(message(1), 'q')
  settlements.lose()
  settlements.ack(message(1))
  settlements.flushAll()
  expect([server.frames, settlements.isOpen]).toEqual([0, false])
})
