import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EncodeError } from '../../dist/errors.js'
import { fromHeadText, toHeadText } from '../../dist/protocol/head-text.js'
import { decodeHead, encodeHead } from '../../dist/protocol/message-head.js'
import { readEnvelope, writeEnvelope } from '../../dist/transports/redis/envelope.js'

const data = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    fc.string(),
    fc.bigInt({ min: 2n ** 53n }),
    fc.integer(),
    fc.boolean(),
    fc.date({ noInvalidDate: true, min: new Date('0001-01-02'), max: new Date('9999-12-30') }),
    fc.uint8Array({ maxLength: 4 }),
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.5, 1e300),
    fc.constant(null),
    tie('list'),
    tie('record'),
  ),
  list: fc.array(tie('any'), { maxLength: 4 }),
  record: fc.dictionary(
    fc.string().filter((key) => !key.startsWith('__')),
    tie('any'),
    { maxKeys: 4, noNullPrototype: true },
  ),
})).any

test('what stands beside a body comes back as it was: integers of any size, times, bytes and NaN, too', () => {
  fc.assert(
    fc.property(data, (value) => {
      expect(fromHeadText(toHeadText(value, 'head'))).toEqual(value)
    }),
  )
})

test('plain values are plain JSON; what is no data is named', () => {
  expect(toHeadText({ a: [1, null] }, 'head')).toBe('{"a":[1,null]}')
  const round: Record<string, unknown> = {}
  round.round = round
  expect(() => toHeadText({ round }, 'head')).toThrow(EncodeError)
  expect(() => toHeadText({ round }, 'head')).toThrow(/head\.round\.round/)
})

test('a message with such a header is kept and read', () => {
  const message = {
    body: '[]',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { id: 'x', user: 2n ** 63n },
    properties: {},
  }
  const to = { exchange: '', routingKey: 'celery' }
  expect(decodeHead(encodeHead(message, to), message.body)).toEqual({ message, to })
})

test('a message that was read from Redis is kept, too', () => {
  const to = { exchange: '', routingKey: 'celery' }
  const properties = { correlationId: 'x', replyTo: 'r', deliveryMode: 2, priority: 5 }
  const sent = { body: '[]', contentType: 'application/json', contentEncoding: 'utf-8', headers: { id: 'x', at: new Date(5) }, properties }
  const { message } = readEnvelope(Buffer.from(writeEnvelope(sent, to)))
  expect(decodeHead(encodeHead(message, to), sent.body).message).toEqual(sent)
})
