/** The watch over a worker that is connected and hears nothing, over the memory broker: a connection that nobody consumes on is as deaf as one can be. */
import { expect, test } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { DeafWatch, type Hearing } from '../../dist/worker/deaf-watch.js'
import { LiveApp } from '../live-app.js'

async function deaf(live: LiveApp) {
  const connection = await Celeriac.internals(live.app).core.connections.publisher()
  const clock = new VirtualClock()
  const hearing = { connection, queues: ['celery'], hasPlace: true, received: 0 }
  let current: Hearing | undefined = hearing
  const lines: string[] = []
  const say = (_: unknown, text = ''): void => void lines.push(text)
  const watch = new DeafWatch({
    clock,
    log: { debug: say, info: say, warn: say, error: say },
    deafMs: 2_000,
    hearing: () => current,
    repair: async () => {},
  })
  watch.start()
  // The memory broker answers within the turn, so the next look is set when the clock moves again.
  const look = (): Promise<void> => clock.moveTo(clock.now() + 1_000)
  return { hearing, watch, look, lines, hear: (next: Hearing | undefined) => (current = next) }
}

test('messages that wait for two looks, with free places and nothing received, are a deaf worker', async () => {
  await using live = new LiveApp()
  const { watch, look, lines } = await deaf(live)
  await look()
  await look()
  expect(watch.suspicion).toBeUndefined()
  await live.app.sendTask('any')
  await look()
  expect(watch.suspicion).toMatch(/1 messages in queue celery/)
  expect(watch.repairs).toBe(0)
  await look()
  expect(watch).toMatchObject({ repairs: 1, suspicion: undefined })
  expect(lines).toHaveLength(1)
  watch.stop()
})

test('a worker that received something, has no place, takes nothing, or whose messages are not due is not deaf', async () => {
  await using live = new LiveApp()
  await live.app.sendTask('any', {}, { countdown: 600 })
  const { watch, look, hear, hearing } = await deaf(live)
  for (let n = 0; n < 4; n++) await look()
  expect(watch.suspicion).toBeUndefined()
  await live.app.sendTask('any')
  for (const other of [{ ...hearing, hasPlace: false }, undefined]) {
    hear(other)
    for (let n = 0; n < 4; n++) await look()
  }
  for (let received = 1; received < 5; received++) {
    hear({ ...hearing, received })
    await look()
  }
  expect(watch).toMatchObject({ repairs: 0, suspicion: undefined })
  watch.stop()
})

test('a repair that does not help is repeated more and more seldom', async () => {
  await using live = new LiveApp()
  await live.app.sendTask('any')
  const { watch, look } = await deaf(live)
  for (let n = 0; n < 40; n++) await look()
  expect(watch.repairs).toBeGreaterThan(2)
  expect(watch.repairs).toBeLessThan(7)
  watch.stop()
})
