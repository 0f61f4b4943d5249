import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DecodeError, EncodeError } from '../../dist/errors.js'
import { parseIso, toIso } from '../../dist/protocol/time.js'

const at = Date.UTC(2026, 10, 22, 16, 46, 37, 620)

test('a time is written as Python does, with 6 digits and the offset', () => {
  expect(toIso(at)).toBe('2026-11-22T16:46:37.620000+00:00')
  expect(toIso(Date.UTC(2030, 0, 1))).toBe('2030-01-01T00:00:00.000000+00:00')
})

test.each([
  ['Europe/Berlin', '2026-11-22T17:46:37.620000+01:00'],
  ['America/New_York', '2026-11-22T11:46:37.620000-05:00'],
  ['Asia/Kolkata', '2026-11-22T22:16:37.620000+05:30'],
  ['UTC', '2026-11-22T16:46:37.620000+00:00'],
])('a time is written in the timezone %s', (timezone, text) => {
  expect(toIso(at, timezone)).toBe(text)
  expect(parseIso(text)).toBe(at)
})

test('summer time is obeyed', () => {
  expect(toIso(Date.UTC(2026, 6, 1, 12), 'Europe/Berlin')).toBe('2026-07-01T14:00:00.000000+02:00')
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, 8.64e15, -8.64e15])('a time that Python does not have (%s) is refused', (ms) => {
  expect(() => toIso(ms)).toThrow(EncodeError)
})

test.each<[string, number]>([
  ['2026-11-22T16:46:37.620814+00:00', at],
  ['2026-11-22T16:46:37.620Z', at],
  ['2026-11-22T16:46:37.620', at],
  ['2026-11-22 16:46:37.620', at],
  ['2026-11-22T16:46:37,62', at],
  ['20261122T164637.620Z', at],
  ['2026-11-22T18:46:37.620+02:00', at],
  ['2026-11-22T18:46:37.620+0200', at],
  ['2026-11-22T18:46:37.620+02', at],
  // Berlin's local time until 1893: datetime writes such offsets.
  ['2026-11-22T17:40:05.620+00:53:28', at],
  ['2026-11-22T15:53:09.620-00:53:28', at],
  ['2026-11-22T17:40:05.870+00:53:28.250000', at],
  ['2026-11-22T16:46', Date.UTC(2026, 10, 22, 16, 46)],
  ['2026-11-22T16', Date.UTC(2026, 10, 22, 16)],
  ['2026-11-22', Date.UTC(2026, 10, 22)],
  ['20261122', Date.UTC(2026, 10, 22)],
  ['2026-11-22T24:00:00', Date.UTC(2026, 10, 23)],
  ['2024-02-29T00:00:00', Date.UTC(2024, 1, 29)],
])('%s is read', (text, ms) => {
  expect(parseIso(text)).toBe(ms)
})

test.each([
  '',
  'now',
  '1700000000',
  '1700000000.5',
  'Sun, 22 Nov 2026 16:46:37 +0000',
  'Sun Nov 22 2026 16:46:37 GMT+0000',
  '2026-13-01T00:00:00',
  '2026-02-29T00:00:00',
  '2026-11-22T25:00:00',
  '2026-11-22T24:00:01',
  '2026-11-22T24:00:00.000001',
  '2026-11-22T10:60:00',
  '2026-11-22T10:00:61',
  '2026-11-22T10:00:00+24:00',
  '2026-11-22T10:00:00+00:00:60',
  '2026-11-22T10:00:00+00:00:0',
  '2026-11-22T10:00:00 UTC',
  '0000-01-01',
  '+12026-01-01T00:00:00',
  ` ${'2'.repeat(100_000)}`,
])('%s is no time', (text) => {
  expect(() => parseIso(text)).toThrow(DecodeError)
})

test('what is written is read back, to the millisecond', () => {
  const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Kiritimati')
  const times = fc.integer({ min: Date.UTC(1975, 0, 1), max: Date.UTC(9998, 0, 1) })
  fc.assert(fc.property(times, zones, (ms, zone) => parseIso(toIso(ms, zone)) === ms))
})
