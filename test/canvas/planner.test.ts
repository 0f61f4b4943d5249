import { expect, test } from 'vitest'
import { plannedHere, recordings, sentByPython } from './recorded.js'

/** Python puts the header in the place of the parents that the body's result has. */
const parentsForgotten = new Set(['group and two tasks', 'chord with a chain as its body', 'chord with a chord as its body'])

test.each(recordings.map((recording) => [recording.name, recording] as const))('as Python: %s', (_, recording) => {
  const compared = { parents: !parentsForgotten.has(recording.name) }
  expect(plannedHere(recording, compared)).toEqual(sentByPython(recording, compared))
})
