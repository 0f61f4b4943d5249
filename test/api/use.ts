import { Celeriac, createClient, chain, group, chord, crontab, every, currentTask, testApp, type AsyncResult, type TasksOf } from 'celeriac'
import { z } from 'zod'
import * as v from 'valibot'

const app = new Celeriac('shop', { broker: process.env.BROKER_URL ?? 'sqlite://./.celeriac/queue.db', taskRoutes: { 'mail.*': { queue: 'mail' } } })

// (e) plain positional
export const add = app.task('tasks.add', (x: number, y: number) => x + y)
export const tsum = app.task('tasks.tsum', (xs: number[]) => xs.reduce((a, b) => a + b, 0))
export const show = app.task('tasks.show', (x: number) => String(x))
export const pow = app.task('tasks.pow', (x: number, y?: number) => x ** (y ?? 2))

// (d) with names so that Python may call add2(x=1, y=2)
export const add2 = app.task('tasks.add2', { params: ['x', 'y'], rateLimit: '10/s', maxRetries: 3 }, (x: number, y: number) => x + y)

// (c) bound
export const fetchUrl = app.task('tasks.fetch', { bind: true, softTimeLimit: '30s', retryBackoff: true }, async (self, url: string) => {
  const res = await fetch(url, { signal: self.signal })
  if (res.status === 429) self.retry({ countdown: Number(res.headers.get('retry-after') ?? 5) })
  await self.progress(1, 2)
  self.log.info({ url, attempt: self.request.retries })
  return { status: res.status, body: await res.text() }
})

// (a) kwargs + Standard Schema (zod)
export const sendEmail = app.task('mail.send', { kwargs: z.object({ to: z.string(), subject: z.string().default('hi'), at: z.coerce.date().optional() }), params: ['to', 'subject'], queue: 'mail' },
  async ({ to, subject, at }, ctx) => { const s: string = subject; const d: Date | undefined = at; ctx.log.info({ to, s, d }); return { id: to + s } })
// (a) valibot
export const resize = app.task('img.resize', { kwargs: v.object({ url: v.string(), width: v.number() }) }, async ({ url, width }) => `${url}@${width}`)
// (b) tuple schema
export const mul = app.task('tasks.mul', { args: z.tuple([z.number(), z.number()]) }, (x, y) => x * y)

async function calls() {
  const r = await add.delay(2, 3)
  const n: number = await r.get({ timeout: 30 })
  const m: number = await add.delay(2, 3).get()
  await add.applyAsync([2, 3], { countdown: '10s', queue: 'hi', linkError: show.si(1) })
  await add2.applyAsync({ x: 1, y: 2 })
  await sendEmail.delay({ to: 'a@b.c' })                       // subject is optional for the caller (schema input)
  await sendEmail.with({ countdown: 5 }).delay({ to: 'a@b.c', subject: 's' })
  const e: { id: string } = await sendEmail.delay({ to: 'x' }).get()
  await mul.delay(2, 4)
  // @ts-expect-error wrong type
  add.delay('2', 3)
  // @ts-expect-error missing argument
  add.delay(2)
  // @ts-expect-error missing field
  sendEmail.delay({})
  // @ts-expect-error wrong keyword
  add2.applyAsync({ x: 1, z: 2 })
  // @ts-expect-error bad duration
  add.applyAsync([1, 2], { countdown: '10 minutes' })
  void [n, m, e]
}

async function canvas() {
  // chain: (2+2) | +4 | str
  const c = chain(add.s(2, 2), add.s(4), show.s())
  const out: string = await c.delay().get()
  const p: string = await add.s(2, 2).pipe(add.s(4)).pipe(show.s()).delay().get()
  const imm: string = await chain(add.s(2, 2), show.si(7)).delay().get()
  // optional parameters: pow.s(3) may run alone (x=3) or after a number (x=prev, y=3)
  const q: number = await pow.s(3).delay().get()
  const q2: number = await chain(add.s(1, 1), pow.s(3)).delay().get()
  // group / chord
  const g: [number, string] = await group(add.s(1, 1), show.s(2)).delay().get()
  const gs: number[] = await group([1, 2, 3].map((i) => add.s(i, i))).delay().get()
  const ch: number = await chord(group(add.s(1, 1), add.s(2, 2)), tsum.s()).delay().get()
  const ch2: number = await chain(group([1, 2].map((i) => add.s(i, i))), tsum.s()).delay().get()
  const fan: [number, string] = await chain(add.s(1, 1), group(add.s(10), show.s())).delay().get()
  // a chain that is still partial
  const partial = chain(add.s(1), show.s())
  const full: string = await chain(add.s(1, 1), partial).delay().get()
  // a chain into a kwargs task fills its first declared parameter
  await chain(show.s(1), sendEmail.s({ subject: 'x' })).delay()
  const sm: number[] = await add.starmap([[1, 2], [3, 4]]).delay().get()
  // @ts-expect-error show gives a string, add wants a number
  chain(show.s(1), add.s(4))
  // @ts-expect-error add.s(4, 4) is full: Celery would call add(4, 4, 4)
  chain(add.s(2, 2), add.s(4, 4))
  // @ts-expect-error a partial signature cannot run by itself
  add.s(4).delay()
  // @ts-expect-error the chord body wants number[], the header gives strings
  chord(group(show.s(1), show.s(2)), tsum.s())
  // @ts-expect-error a partial chain cannot run by itself
  partial.delay()
  // @ts-expect-error the first step of a running chain must be ready
  chain(add.s(1), show.s()).delay()
  void [out, p, imm, q, q2, g, gs, ch, ch2, fan, full, sm]
}

// remote (Python) tasks: types only
interface PyTasks {
  'ml.embed': (text: string, dims?: number) => number[]
  'ml.train': (input: { dataset: string; epochs: number }) => { loss: number }
}
const py = app.remotes<PyTasks>()
const classify = app.remote<(text: string) => 'spam' | 'ham'>('ml.classify')
async function remote() {
  const vec: number[] = await py['ml.embed'].delay('hello', 3).get()
  const t: { loss: number } = await py['ml.train'].delay({ dataset: 'd', epochs: 3 }).get()
  const k: 'spam' | 'ham' = await classify.delay('x').get()
  await chain(show.s(1), py['ml.embed'].s()).delay()
  // @ts-expect-error
  py['ml.train'].delay({ dataset: 'd' })
  const anyr: AsyncResult<unknown> = await app.sendTask('ml.other', { args: [1], kwargs: { a: 2 } })
  void [vec, t, k, anyr]
}

// a web server that must not load the worker's code: only the types are imported
const web = createClient<TasksOf<typeof import('./use.js')>>({ gateway: 'https://queue.example/api', token: 't' })
async function handler() {
  await web.tasks['mail.send'].delay({ to: 'a@b.c' })
  const five: number = await web.tasks['tasks.add'].delay(2, 3).get()
  // @ts-expect-error no such task
  web.tasks['tasks.nope']
  // @ts-expect-error wrong arguments
  web.tasks['tasks.add'].delay('2')
  void five
}

// beat
new Celeriac('x', { beatSchedule: {
  nightly: { task: sendEmail.s({ to: 'ops@x' }), schedule: crontab('0 3 * * 1-5', { timezone: 'Europe/Berlin' }) },
  tick: { task: add.s(1, 1), schedule: every('30s') },
  // @ts-expect-error a schedule cannot fill the missing argument
  bad: { task: add.s(1), schedule: 10 },
} })

async function ops() {
  await using worker = await app.worker({ queues: ['celery', 'mail'], concurrency: 8, pool: 'threads' }).start()
  app.use({ async execute(ctx, next) { const t = performance.now(); try { return await next() } finally { ctx.log.info({ ms: performance.now() - t }) } } })
  app.on('taskFailure', (e) => console.error(e.task, e.error))
  void [worker, currentTask({ optional: true })?.request.id]
}
async function tests() {
  await using t = await testApp(app)
  await calls()
  const sent = t.enqueued(add)
  const first: [number, number] | undefined = sent[0]?.args
  const mails: { to: string }[] = t.enqueued(sendEmail).map((e) => e.kwargs)
  await t.advance('1h')
  const { succeeded } = await t.drain({ withRetries: true })
  const n: number = await t.run(add, [1, 2], { retries: 1 })
  void [first, mails, succeeded, n, calls, canvas, remote, handler, ops, tests]
}
