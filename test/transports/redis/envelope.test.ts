import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Message } from '../../../dist/protocol/message.js'
import { markRedelivered, readEnvelope, writeEnvelope } from '../../../dist/transports/redis/envelope.js'
import { readUnacked, tailOf } from '../../../dist/transports/redis/unacked.js'

const to = { exchange: '', routingKey: 'celery' }
const sent: Message = {
  body: '[[2, 3], {}, {"é": "😀"}]',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: { id: 'x', task: 'add', 'X-My': ['ä', null] },
  properties: { correlationId: 'x', replyTo: 'r', deliveryMode: 2, priority: 5, expiration: '60000' },
}

/** An envelope as an object, changed and written again. */
function changed(change: (envelope: Record<string, Record<string, unknown>>) => void): Buffer {
  const envelope = JSON.parse(writeEnvelope(sent, to))
  change(envelope)
  return Buffer.from(JSON.stringify(envelope))
}

test('an envelope has the keys of kombu', () => {
  const envelope = JSON.parse(writeEnvelope(sent, to))
  expect(Object.keys(envelope)).toEqual(['body', 'content-encoding', 'content-type', 'headers', 'properties'])
  expect(Object.keys(envelope.properties)).toEqual([
    'correlation_id',
    'reply_to',
    'delivery_mode',
    'expiration',
    'delivery_info',
    'priority',
    'body_encoding',
    'delivery_tag',
  ])
  expect(envelope.properties.delivery_tag).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  expect(Buffer.from(envelope.body, 'base64').toString()).toBe(sent.body)
})

test('a priority below 0 is 0, as kombu takes it', () => {
  const { message } = readEnvelope(changed(({ properties }) => void Object.assign(properties ?? {}, { priority: -1 })))
  expect(message.properties).not.toHaveProperty('priority')
})

test('no two messages share a delivery tag', () => {
  const tags = Array.from({ length: 1_000 }, () => JSON.parse(writeEnvelope(sent, to)).properties.delivery_tag)
  expect(new Set(tags).size).toBe(1_000)
})

test('what is written is read', () => {
  expect(readEnvelope(Buffer.from(writeEnvelope(sent, to)))).toEqual({ message: sent, to, redelivered: false, deliveries: 0 })
})

test('a compressed body is bytes', () => {
  const message = { ...sent, body: new Uint8Array([255, 0, 1]), headers: { compression: 'application/x-gzip' } }
  expect(readEnvelope(Buffer.from(writeEnvelope(message, to))).message.body).toEqual(new Uint8Array([255, 0, 1]))
})

test('a body without encoding is taken literally, as kombu takes it', () => {
  for (const encoding of ['utf-8', null, undefined]) {
    const raw = changed((envelope) => {
      Object.assign(envelope, { body: '[[1], {}, null]' })
      Object.assign(envelope.properties ?? {}, { body_encoding: encoding })
    })
    expect(readEnvelope(raw).message.body).toBe('[[1], {}, null]')
  }
})

test("kombu's leftover header is none of the task's", () => {
  const raw = changed((envelope) => Object.assign(envelope.headers ?? {}, { redelivered: true }))
  expect(readEnvelope(raw).message.headers).toEqual(sent.headers)
})

test('integers beyond 2^53 in headers keep their digits', () => {
  const raw = Buffer.from(writeEnvelope(sent, to).replace('"id":"x"', '"id":"x","n":12345678901234567890'))
  expect(readEnvelope(raw).message.headers.n).toBe(12345678901234567890n)
})

describe('what is no envelope is refused with what is wrong', () => {
  const cases: readonly (readonly [what: string, raw: Buffer | string, reason: RegExp])[] = [
    ['no JSON', 'nonsense{', /JSON/],
    ['no object', '[1]', /not a JSON object/],
    ['empty', '{}', /"properties"/],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), /UTF-8/],
    ['bad base64', changed((envelope) => Object.assign(envelope, { body: '*'.repeat(8) })), /base64/],
    ['cut base64', changed((envelope) => Object.assign(envelope, { body: 'QUJD Q' })), /base64/],
    ['unknown body encoding', changed((envelope) => Object.assign(envelope.properties ?? {}, { body_encoding: 'rot13' })), /rot13/],
    ['no delivery info', changed((envelope) => Object.assign(envelope.properties ?? {}, { delivery_info: 1 })), /delivery_info/],
    ['no content type', changed((envelope) => Object.assign(envelope, { 'content-type': null })), /content-type/],
  ]
  test.each(cases)('%s', (_, raw, reason) => {
    expect(() => readEnvelope(Buffer.from(raw as string))).toThrow(reason)
  })

  test('but a body that is no text although it says so is left to whoever decodes it', () => {
    const raw = changed((envelope) => Object.assign(envelope, { body: '/w==' }))
    expect(readEnvelope(Buffer.from(raw)).message.body).toEqual(new Uint8Array([0xff]))
  })
})

describe('a message that goes back', () => {
  const fresh = { redelivered: false, deliveries: 0 }

  test('is marked as kombu marks it, and counted by us', () => {
    const marked = markRedelivered(Buffer.from(writeEnvelope(sent, to)), 3, fresh).toString()
    expect(readEnvelope(Buffer.from(marked))).toEqual({ message: sent, to, redelivered: true, deliveries: 3 })
    const again = markRedelivered(Buffer.from(marked), 4, { redelivered: true, deliveries: 3 }).toString()
    expect(readEnvelope(Buffer.from(again)).deliveries).toBe(4)
    expect(JSON.parse(again).headers.redelivered).toBe(true)
  })

  test('does not grow when it goes back again and again', () => {
    let raw: Buffer | string = writeEnvelope(sent, to)
    const sizes = Array.from({ length: 10 }, () => {
      raw = markRedelivered(Buffer.from(raw), 0, readEnvelope(Buffer.from(raw)))
      return Buffer.from(raw).length
    })
    expect(new Set(sizes).size).toBe(1)
    expect(readEnvelope(Buffer.from(raw)).redelivered).toBe(true)
  })

  test('keeps every other byte', () => {
    fc.assert(
      fc.property(fc.json(), fc.json(), fc.dictionary(fc.string(), fc.jsonValue()), (a, b, headers) => {
        const text = `{"x": ${a}, "headers": ${JSON.stringify(headers)}, "properties": {"y": ${b}, "delivery_info": {}}, "z": ${a}}`
        const marked = markRedelivered(Buffer.from(text), 2, fresh).toString()
        const expected = JSON.parse(text)
        expected.headers.redelivered = true
        expected.properties.delivery_info.redelivered = true
        expected.properties.celeriac_deliveries = 2
        expect(JSON.parse(marked)).toEqual(expected)
        const marks = /, "celeriac_deliveries": 2|(?:, )?"redelivered": true/g
        expect(marked.replace(marks, '')).toBe(text.replace(marks, ''))
      }),
    )
  })
})

test('what lies in unacked is taken apart, whoever wrote it', () => {
  fc.assert(
    fc.property(fc.json(), fc.string({ maxLength: 255 }), fc.string({ maxLength: 255 }), (envelope, exchange, routingKey) => {
      const python = Buffer.from(`[${envelope}, ${JSON.stringify(exchange)}, ${JSON.stringify(routingKey)}]`)
      const read = readUnacked(python)
      expect([read.raw.toString(), read.to]).toEqual([envelope, { exchange, routingKey }])
      const ours = readUnacked(Buffer.from(`[${envelope}${tailOf(routingKey)}`))
      expect([ours.raw.toString(), ours.to]).toEqual([envelope, { exchange: '', routingKey }])
    }),
  )
  expect(() => readUnacked(Buffer.from('{"not": "a list"}'))).toThrow(/list/)
})
