// The tasks of docs/guide. test/examples/guide.test.ts runs them on a worker, called by calls.ts.
import { Celeriac, currentTask } from 'celeriac'
import { z } from 'zod'

// region app
export const app = new Celeriac('shop', {
  taskRoutes: { 'mail.*': { queue: 'mail' }, 'reports.*': 'reports' },
  resultExpires: '7d',
})
// endregion

// region plain
export const add = app.task('shop.add', (x: number, y: number) => x + y)
// endregion

// region params
export const price = app.task('shop.price', { params: ['amount', 'currency'] }, (amount: number, currency?: string) => {
  return `${amount.toFixed(2)} ${currency ?? 'EUR'}`
})
// endregion

// region kwargs
export const sendMail = app.task(
  'mail.send',
  { kwargs: z.object({ to: z.string(), at: z.coerce.date().optional(), copies: z.number().default(1) }), params: ['to'] },
  async ({ to, copies }) => `${copies} × ${to}`,
)
// endregion

// region args
export const multiply = app.task('shop.multiply', { args: z.tuple([z.number(), z.number()]) }, (x, y) => x * y)
// endregion

// region context
export const importRows = app.task('shop.import', { bind: true, softTimeLimit: '10m' }, async (self, rows: string[]) => {
  self.log.info(`run ${self.request.retries + 1} of ${self.request.id}`)
  for (const [done, row] of rows.entries()) {
    if (self.signal.aborted) throw self.signal.reason // the time is over, or the worker stops
    await save(row)
    await self.progress(done + 1, rows.length)
  }
  return rows.length
})

async function save(row: string): Promise<string> {
  return `${currentTask().request.id}: ${row}` // code far below finds the running task by itself
}
// endregion

// region endings
export const charge = app.task('shop.charge', { bind: true, maxRetries: 2 }, (self, order: string) => {
  if (order === 'cancelled') self.ignore() // acked, nothing stored: the result stays PENDING
  if (order === 'nonsense') self.reject() // to the dead letters
  if (order === 'busy' && self.request.retries === 0) self.retry({ countdown: 0 })
  return `charged ${order}`
})
// endregion

class CardDeclined extends Error {}

// region throws
export const pay = app.task('shop.pay', { throws: [CardDeclined] }, (card: string) => {
  if (card === 'declined') throw new CardDeclined('insufficient funds')
  return 'paid'
})
// endregion

// region backoff
class Busy extends Error {
  constructor(readonly retryAfterSeconds: number) {
    super(`busy for ${retryAfterSeconds} s`)
  }
}

export const poll = app.task(
  'shop.poll',
  {
    bind: true,
    autoretryFor: (error) => error instanceof Busy,
    retryBackoff: (retries, error) => (error instanceof Busy ? error.retryAfterSeconds : 2 ** retries),
    maxRetries: null, // for ever
  },
  (self) => {
    if (self.request.retries < 2) throw new Busy(0)
    return self.request.retries
  },
)
// endregion

// region links
export const logPaid = app.task('shop.logPaid', (result: string, order: string) => `${order}: ${result}`)
export const alarm = app.task('shop.alarm', (failedId: string) => `task ${failedId} failed`)
// endregion

// region get-inside
export const total = app.task('shop.total', async (xs: number[]) => {
  const handles = await Promise.all(xs.map((x) => add.delay(x, 1)))
  const sums = await Promise.all(handles.map((handle) => handle.get({ allowInsideTask: true, timeout: '20s' })))
  return sums.reduce((a, b) => a + b, 0)
})
// endregion

export const waitsWrongly = app.task('shop.waitsWrongly', () => add.delay(1, 1).get())
