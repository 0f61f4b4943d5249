// What docs/guide/limits.md says, checked.
import { equal, notEqual, ok } from 'node:assert/strict'
import { Celeriac } from 'celeriac'

// region queue
const app = new Celeriac('shop', {
  taskQueues: [{ name: 'celery' }, { name: 'imports', concurrency: 2, rateLimit: { limit: '100/m', scope: 'cluster' } }],
})
// endregion

const ran: string[] = []
let running = 0
let most = 0

// region rate
const ask = app.task('shop.ask', { rateLimit: { limit: '10/s', scope: 'cluster' } }, (question: string) => answer(question))

const mail = app.task(
  'shop.mail',
  { params: ['to', 'text'], rateLimit: { limit: '2/m', key: '{to}', scope: 'cluster' } },
  (to: string, text: string) => send(to, text),
)
// endregion

// region concurrency
const charge = app.task('shop.charge', { concurrency: 3 }, (order: number) => pay(order))

const sync = app.task('shop.sync', { concurrency: { limit: 1, key: '{0}' } }, (account: string) => pull(account))

const resize = app.task('shop.resize', { concurrency: { limit: 2, scope: 'worker' } }, (file: string) => shrink(file))
// endregion

// region unique
const report = app.task('shop.report', (month: string) => write(month))

const first = await report.applyAsync(['2026-10'], { unique: 'report {0}' })
const again = await report.applyAsync(['2026-10'], { unique: 'report {0}' }) // not sent: the handle of the first
// endregion
equal(again.id, first.id)

// region modes
await report.applyAsync(['2026-11'], { unique: { key: '{0}', onConflict: 'replace' } })
await report.applyAsync(['2026-11'], { unique: { key: '{0}', onConflict: 'debounce', ttl: '1s' } })
const one = await report.applyAsync(['2026-12'], { unique: { key: '{0}', onConflict: 'throttle', ttl: '10m' } })
// endregion

async function work(what: string): Promise<string> {
  most = Math.max(most, ++running)
  await new Promise((resolve) => setTimeout(resolve, 10))
  running--
  ran.push(what)
  return what
}
const answer = work
const send = (to: string, text: string): Promise<string> => work(`${text} to ${to}`)
const pay = (order: number): Promise<string> => work(`order ${order}`)
const pull = work
const shrink = work
const write = work

const wait = { timeout: '20s' } as const
await using _ = await app.worker({ pool: 'async', concurrency: 8, queues: ['celery', 'imports'] }).start()
equal(await again.get(wait), '2026-10')
equal(await one.get(wait), '2026-12')
notEqual((await report.applyAsync(['2026-10'], { unique: 'report {0}' })).id, first.id)
equal((await report.applyAsync(['2026-12'], { unique: { key: '{0}', onConflict: 'throttle', ttl: '10m' } })).id, one.id)
await Promise.all([ask.delay('why'), mail.delay('ada', 'hello'), sync.delay('a'), resize.delay('a.png')].map((call) => call.get(wait)))
most = 0
await Promise.all(Array.from({ length: 8 }, (_, order) => charge.delay(order)).map((call) => call.get(wait)))
ok(most === 3)
await Promise.all(
  Array.from({ length: 4 }, (_, n) => resize.applyAsync([`${n}`], { queue: 'imports' }))
    .slice(0, 1)
    .map((call) => call.get(wait)),
)
console.log('all as expected')
