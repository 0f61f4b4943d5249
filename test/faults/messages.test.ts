import { expect } from 'vitest'
import { faultTest } from '../harness/fault-test.js'
import { good, messageRows, toldRefusals, worksOn } from './message-rows.js'

for (const [id, what, head] of [
  ['M1', 'headers that are no JSON', '{broken'],
  ['M2', 'headers that are an empty object', '{}'],
] as const) {
  faultTest({ id, promise: `${what}: a dead letter with its body` }, async (scene) => {
    const bad = good({ args: ['kept'] })
    await scene.app.control.purge()
    await scene.send('good')
    await scene.publishRaw(bad)
    await scene.broker.withEngine((engine) =>
      engine.prepare('UPDATE messages SET head = ? WHERE head LIKE ?').run([head, `%${bad.headers.id}%`]),
    )
    const worker = await scene.worker({ concurrency: 1 })
    const [letter] = await scene.deadLettersReach(1)
    expect(letter).toMatchObject({ queue: 'celery', reason: expect.stringContaining('damaged'), message: { body: bad.body } })
    await worksOn(scene, worker)
    expect(toldRefusals(worker)).toBe(1)
  })
}

messageRows(faultTest)
