import { expect, test } from 'vitest'
import { eventLine } from '../../dist/cli/events/lines.js'
import { InvalidMessageError } from '../../dist/errors.js'
import { LamportClock } from '../../dist/internal/lamport-clock.js'
import { type ClusterEvent, decodeEvents, encodeEvents, eventRoutingKey, utcOffset } from '../../dist/protocol/events.js'
import { decodeJson, json } from '../../dist/serializers/json.js'

const event: ClusterEvent = { hostname: 'w@h', utcoffset: 0, pid: 1, clock: 3, uuid: 'a', timestamp: 1795366034.93, type: 'task-started' }

test('one event is an object, several are an array, and both are read back', () => {
  const one = encodeEvents([event], json, 'w@h')
  expect(decodeJson(one.body)).toEqual(event)
  expect([one.headers, one.properties]).toEqual([{ hostname: 'w@h' }, { deliveryMode: 1, priority: 0 }])
  expect(decodeEvents(decodeJson(one.body))).toEqual([event])
  expect(decodeEvents(decodeJson(encodeEvents([event, event], json, 'w@h').body))).toEqual([event, event])
})

test('the routing key of an event is its type with dots', () => {
  expect(eventRoutingKey('worker-elect-ack')).toBe('worker.elect.ack')
})

test('an event without a clock, a time or a number of its process can be read', () => {
  expect(decodeEvents({ type: 'task-sent', hostname: 'gen@h', clock: null })).toEqual([
    { type: 'task-sent', hostname: 'gen@h', clock: null, timestamp: 0, utcoffset: 0, pid: 0 },
  ])
})

test('a time that is none of a calendar is left out: nobody could show it', () => {
  const [read] = decodeEvents({ ...event, timestamp: 1e300 })
  expect(read).toEqual({ ...event, timestamp: 0 })
  expect(eventLine(read ?? event, undefined)).toContain('1970-01-01')
})

test('an event on a line moves no cursor, and is one line', () => {
  const line = eventLine({ ...event, name: 'a\u001b[2Jb', args: '(1,\n2)', big: 2n ** 70n, nested: { deep: [2n ** 70n] } }, undefined)
  expect(line).toContain('a\\x1b[2Jb(a) args=(1,\\n2)')
  expect(line).toContain('1180591620717411303424')
})

test.each([null, 'x', {}, { type: 'x' }, { hostname: 'h' }, { type: 'a\nb', hostname: 'h' }, [{ type: 'x', hostname: 'h' }, 7]])(
  '%j is no event',
  (value) => {
    expect(() => decodeEvents(value)).toThrow(InvalidMessageError)
  },
)

test('the offset of this machine is whole hours west of UTC', () => {
  const expected = Math.floor(new Date(0).getTimezoneOffset() / 60)
  expect(utcOffset(0)).toBe(expected === 0 ? 0 : expected)
})

test('a Lamport clock is later than all that it has heard of', () => {
  const clock = new LamportClock()
  expect([clock.forward(), clock.forward(), clock.value]).toEqual([1, 2, 2])
  expect(clock.adjust(10)).toBe(11)
  expect(clock.adjust(3)).toBe(12)
  for (const nothing of [null, undefined, 'x', 1.5, Number.NaN, -5]) clock.adjust(nothing)
  expect(clock.value).toBe(18)
})
