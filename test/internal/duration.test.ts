import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../dist/internal/duration.js'

test('a number is seconds, and text carries its unit', () => {
  expect([10, 0.5, '250ms', '10s', '1.5m', '2h', '1d'].map(parseDuration)).toEqual([10, 0.5, 0.25, 10, 90, 7200, 86_400])
})

test('what is no span of time is refused', () => {
  for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY, '10', '10 s', '-1s', '1w', '', `${'9'.repeat(400)}d`, null, {}]) {
    expect(parseDuration(wrong)).toBeUndefined()
  }
})

test('a duration that is shown can be read again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e12 }), (ms) => Math.abs((parseDuration(formatDuration(ms / 1000)) ?? -1) - ms / 1000) < 1e-6),
  )
})
