/** Where processes meet: the SDK is in the children, and the main process, which sends what follows, has none. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Celeriac, chain, type Worker } from '../../dist/index.js'
import { until } from '../live-app.js'

const file = fileURLToPath(new URL('fixtures/app.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'celeriac-telemetry-'))
let app: Celeriac
let worker: Worker

beforeAll(async () => {
  process.env.TELEMETRY_FOLDER = folder
  app = (await import(file)).app
  worker = await app.worker({ pool: 'prefork', app: file, concurrency: 1 }).start()
}, 30_000)
afterAll(async () => {
  await worker.stop({ mode: 'cold' })
  await app.close()
  delete process.env.TELEMETRY_FOLDER
  rmSync(folder, { recursive: true, force: true })
})

const lines = <T>(name: string): T[] =>
  existsSync(join(folder, name))
    ? readFileSync(join(folder, name), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    : []

test('spans are made where the tasks run, and a chain stays one trace through a main process that knows nothing of it', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const step = (name: string) => app.remote<() => string>(name).si()
  const header = await chain(step('first').set({ headers: { traceparent } }), step('next'))
    .delay()
    .get({ timeout: 30 })
  type Seen = { name: string; traceId: string; spanId: string; parentId: string; pid: number }
  const spans = await until(() => lines<Seen>('spans').length >= 4 && lines<Seen>('spans'), 20_000)
  const [first, next, nested, sending] = ['run/first', 'run/next', 'run/nested', 'apply_async/nested'].map((name) =>
    spans.find((span) => span.name === name),
  )
  expect(first).toMatchObject({ traceId: '0af7651916cd43dd8448eb211c80319c', parentId: 'b7ad6b7169203331' })
  expect(first?.pid).not.toBe(process.pid)
  expect([next?.parentId, sending?.parentId, nested?.parentId]).toEqual([first?.spanId, first?.spanId, sending?.spanId])
  expect(header).toBe(`00-${first?.traceId}-${first?.spanId}-01`)
})

test('signals of processes: before one starts, in it, and of a task that its process could not tell of', async () => {
  await app.sendTask('block').get({ timeout: 30, propagate: false })
  // The next process is up.
  await app.sendTask('nested').get({ timeout: 30 })
  await worker.stop()
  type Seen = { signal: string; where: string }
  const seen = await until(
    () => lines<Seen>('signals').some(({ signal }) => signal === 'workerProcessShutdown') && lines<Seen>('signals'),
    20_000,
  )
  expect(seen.slice(0, 2)).toEqual([
    { signal: 'workerBeforeCreateProcess', where: 'main' },
    { signal: 'workerProcessInit', where: 'child' },
  ])
  expect(seen).toContainEqual({ signal: 'failure of block: TimeLimitExceeded', where: 'main' })
  expect(seen.at(-1)).toEqual({ signal: 'workerProcessShutdown', where: 'child' })
})
