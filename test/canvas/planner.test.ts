import { expect, test } from 'vitest'
import { planSignature } from '../../dist/canvas/planner.js'
import { countedIds, plannedHere, recordings, sentByPython } from './recorded.js'

/** Python puts the header in the place of the parents that the body's result has. */
const parentsForgotten = new Set(['group and two tasks', 'chord with a chain as its body', 'chord with a chord as its body'])

test.each(recordings.map((recording) => [recording.name, recording] as const))('as Python: %s', (_, recording) => {
  const compared = { parents: !parentsForgotten.has(recording.name) }
  expect(plannedHere(recording, compared)).toEqual(sentByPython(recording, compared))
})

test('the size of each chord of a workflow is told before any of its header is sent', () => {
  let chords = 0
  for (const { name, signature, args, kwargs, options } of recordings) {
    const steps = [...planSignature(signature, { args, kwargs, options, newId: countedIds() }).steps]
    for (const [index, step] of steps.entries()) {
      if (step.kind !== 'chord') continue
      chords++
      const first = steps.findIndex((other) => other.kind === 'send' && JSON.stringify(other.call).includes(step.groupId))
      expect(first, name).toBeGreaterThan(index)
    }
  }
  expect(chords).toBeGreaterThan(20)
})
