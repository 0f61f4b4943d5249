import { expect, test } from 'vitest'
import { didYouMean } from '../../dist/internal/did-you-mean.js'

const words = ['brokerUrl', 'taskAcksLate', 'task_acks_late', 'queue', 'worker']

test.each([
  ['brokerURL', 'brokerUrl'],
  ['taskAckLate', 'taskAcksLate'],
  ['wroker', 'worker'],
  ['que', 'queue'],
])('%s was meant to be %s', (typed, meant) => {
  expect(didYouMean(typed, words)).toBe(meant)
})

test('a word that is like none of them is left alone', () => {
  expect(didYouMean('port', words)).toBeUndefined()
  expect(didYouMean('', words)).toBeUndefined()
})
