/** Workflows whose tasks run in child processes, on the embedded broker. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Sig } from '../../dist/canvas/sig.js'
import { type Celeriac, chain, chord, group, type Worker } from '../../dist/index.js'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-canvas-prefork-'))
const file = join(folder, 'app.mjs')
let app: Celeriac
let worker: Worker

beforeAll(async () => {
  const logger = '{ debug() {}, info() {}, warn() {}, error() {} }'
  writeFileSync(
    file,
    `import { Celeriac, chain, group } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
export const app = new Celeriac('canvas', { broker: ${JSON.stringify(`sqlite://${folder}/queue.db`)}, logger: ${logger}, taskDeliveryLimit: 2 })
const add = app.task('add', (x, y) => x + y)
const same = app.task('same', (x, y = null) => (y === null ? x : [x, y]))
app.task('sum', (list) => list.reduce((a, b) => a + b, 0))
app.task('die', () => process.exit(3))
app.task('block', () => { for (;;); })
app.task('hand', { bind: true }, (self, x) => self.replace(chain(add.s(x, 1), group(same.s(2n ** 70n), same.s()))))
app.task('grow', { bind: true }, async (self, x) => { await self.addToChord(add.s(x, 1000)); return x })
`,
  )
  app = (await import(file)).app
  worker = await app.worker({ pool: 'prefork', app: file, concurrency: 2 }).start()
})

afterAll(async () => {
  await worker.stop({ mode: 'cold' })
  await app.close()
  rmSync(folder, { recursive: true, force: true })
})

// The tasks' types stand in another file.
const s = (task: string, ...args: unknown[]): Sig<unknown, number, true> =>
  app.signature({ task, args, kwargs: {}, options: {}, subtask_type: null, immutable: false })

test('values that JSON has no form for come unharmed to the next step', async () => {
  const date = new Date(5)
  expect(
    await chain(s('same', 1), s('same', 2n ** 70n), s('same', date))
      .delay()
      .get({ timeout: 25 }),
  ).toEqual([[1, 2n ** 70n], date])
})

test('a task in a child process is replaced, and adds headers to its chord', async () => {
  expect(await chain(s('hand', 1), s('same')).delay().get({ timeout: 25 })).toEqual([[2, 2n ** 70n], 2])
  expect(
    await chord(group(s('grow', 1), s('add', 1, 1)), s('sum'))
      .delay()
      .get({ timeout: 25 }),
  ).toBe(1 + 1001 + 2)
})

test('C2 a header whose process dies, or is killed at its time limit, fails its chord', async () => {
  const died = chord(group(s('add', 1, 1), s('die')), s('sum')).delay()
  await expect(died.get({ timeout: 25 })).rejects.toMatchObject({
    excType: 'ChordError',
    message: expect.stringContaining('WorkerLostError'),
  })
  const late = chord(group(s('add', 1, 1), s('block').set({ timeLimit: 0.2 })), s('sum')).delay()
  await expect(late.get({ timeout: 25 })).rejects.toMatchObject({
    excType: 'ChordError',
    message: expect.stringContaining('TimeLimitExceeded'),
  })
})

test("Celery's own tasks run in child processes, too", async () => {
  const task = { task: 'add', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }
  expect(
    await app
      .sendTask('celery.starmap', {
        kwargs: {
          task,
          it: [
            [1, 2],
            [3, 4],
          ],
        },
      })
      .get({ timeout: 25 }),
  ).toEqual([3, 7])
  const handle = await app
    .sendTask('celery.chord', { args: [[task, task].map((one, n) => ({ ...one, args: [n, 1] })), { ...task, task: 'sum' }] })
    .get({ timeout: 25 })
  expect(await app.resultFromTuple(handle).get({ timeout: 25 })).toBe(3)
})
