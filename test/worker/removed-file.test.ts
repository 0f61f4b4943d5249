/** `rm -r .celeriac` beside a worker and a program that run: what they send afterwards is not written to a file that nobody else can open. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

test('when the embedded file is removed, workers and programs go on with a new one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-removed-'))
  const broker = `sqlite://${folder}/.celeriac/queue.db`
  try {
    await using live = new LiveApp({ broker })
    const { app } = live
    const open: (() => void)[] = []
    const add = app.task('add', (x: number, y: number) => x + y)
    const gated = app.task('gated', { bind: true }, (self) => {
      // Its message is gone: that its lease is lost is all that it learns.
      return new Promise<void>((resolve, reject) => {
        open.push(resolve)
        self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true })
      })
    })
    const worker = await live.work()
    expect(await add.delay(1, 2).get({ timeout: 30 })).toBe(3)
    const running = await gated.delay()
    await until(() => open.length === 1)
    const waits = running.get({ timeout: 30 })
    await running.state()
    const told = expect(waits).rejects.toMatchObject({ code: 'ERR_CONNECTION', message: expect.stringContaining('removed or replaced') })
    rmSync(join(folder, '.celeriac'), { recursive: true })
    expect(await add.delay(3, 4).get({ timeout: 30 })).toBe(7)
    await told
    const unique = { unique: 'once' }
    const [one, other] = [await add.applyAsync([1, 1], unique), await add.applyAsync([1, 1], unique)]
    expect([await one.get({ timeout: 30 }), await other.get({ timeout: 30 })]).toEqual([2, 2])
    await until(() => worker.isReady)
    // Another program, which has opened nothing before.
    await using late = new Celeriac('late', { broker })
    expect(await late.sendTask('add', { args: [5, 6] }).get({ timeout: 30 })).toBe(11)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
