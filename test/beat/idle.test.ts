/** What beat looks at while nothing is due. What that costs is measured in bench/ (the row beat-idle). */
import { expect, test } from 'vitest'
import type { BeatSchedule } from '../../dist/index.js'
import { Rig } from './rig.js'

test('of 10 000 entries that wait none is looked at, and the store only to see whether something has changed', async () => {
  await using rig = new Rig()
  let asked = 0
  const beatSchedule: BeatSchedule = {}
  for (let index = 0; index < 10_000; index++) {
    const schedule = {
      next: (after: Date) => {
        asked += 1
        return new Date(after.getTime() + 3_600_000 + index)
      },
    }
    beatSchedule[`entry-${index}`] = { task: 'tasks.a', schedule }
  }
  const app = rig.app({ beatSchedule })
  await using beat = await app.beat().start()
  expect(beat.isLeading).toBe(true)
  const store = await rig.store()
  const before = await store.revision()
  asked = 0
  await rig.pass(600)
  expect(asked).toBe(0)
  expect(await store.revision()).toBe(before)
  expect(rig.sent).toEqual([])
})
