// The calls of docs/guide, checked. Needs a worker: celeriac -A ./shop.ts worker -Q celery,mail,reports
import { equal, match, rejects } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { ArgumentsInvalidError, EncodeError, TaskFailure, TaskRevokedError, TimeoutError } from 'celeriac'
import { createClient, type TasksOf } from 'celeriac/client'
import { add, alarm, app, charge, importRows, logPaid, multiply, pay, poll, price, sendMail, total, waitsWrongly } from './shop.ts'

const wait = { timeout: '20s' } as const

// region ways
await add.delay(2, 3) // sends it
await add.applyAsync([2, 3], { countdown: '1m' }) // sends it, with options
await add.with({ priority: 9 }).delay(2, 3) // the same task with options of its own
await add(2, 3) // calls the function here: no broker, no worker
await app.sendTask('shop.add', { args: [2, 3] }) // by name, for tasks whose code is elsewhere
// endregion

// region two-answers
const handle = await add.delay(2, 3) // the broker has it
const sum = await handle.get({ timeout: '20s' }) // a worker has run it
const same = await add.delay(2, 3).get() // both in one
// endregion
equal(sum + same, 10)

equal(await price.delay(5).get(wait), '5.00 EUR')
equal(await price.applyAsync({ amount: 5, currency: 'USD' }).get(wait), '5.00 USD')
equal(await sendMail.delay({ to: 'ada' }).get(wait), '1 × ada')
equal(await multiply.delay(6, 7).get(wait), 42)
equal(await importRows.delay(['a', 'b']).get(wait), 2)

// region refused
await rejects(sendMail.delay({ to: 5 as never }), ArgumentsInvalidError) // by the schema
await rejects(app.sendTask('x', { args: [{ user: new Map() }] }), EncodeError) // args[0].user is no data
// endregion

// region link
await charge.applyAsync(['order 7'], { link: logPaid.s('order 7'), linkError: alarm.s() }).get(wait)
// endregion

// region failure
try {
  await pay.delay('declined').get(wait)
} catch (error) {
  if (!(error instanceof TaskFailure)) throw error
  console.log(error.excType, error.message) // CardDeclined insufficient funds
}
const failure = await pay.delay('declined').get({ propagate: false }) // gives it instead of throwing it
// endregion
equal((failure as unknown as TaskFailure).excType, 'CardDeclined')

equal(await charge.delay('busy').get(wait), 'charged busy')
equal(await poll.delay().get(wait), 2)
equal(await total.delay([1, 2, 3]).get(wait), 9)
await rejects(waitsWrongly.delay().get(wait), (error) => error instanceof TaskFailure && /get\(\)/.test(error.message))

const ignored = await charge.delay('cancelled')
// region state
await rejects(ignored.get({ timeout: '1s' }), TimeoutError)
console.log(await ignored.state()) // PENDING: nothing is stored
console.log(await ignored.exists()) // false: the broker does not have it, nor is there a result
// endregion
equal(await ignored.exists(), false)

// region dead-letters
const rejected = await charge.delay('nonsense')
const [letter] = await deadLettersOf(rejected.id)
if (letter !== undefined) {
  console.log(letter.queue, letter.reason, letter.message.headers.task)
  await app.deadLetters.replay(letter.id) // or: drop(letter.id)
}
// endregion
equal((await deadLettersOf(rejected.id)).length, 1) // it is rejected again
for (const { id } of await app.deadLetters.list()) await app.deadLetters.drop(id)

// region revoke
const later = await add.applyAsync([1, 1], { countdown: '1h' })
await later.revoke()
await rejects(later.get(wait), TaskRevokedError)
// endregion

// region id
const taskId = randomUUID()
await add.applyAsync([1, 1], { taskId }) // after PublishUncertainError: send it again with the same id
equal(await app.result<number>(taskId).get(wait), 2)
// endregion

// region client
const client = createClient<TasksOf<typeof import('./shop.ts')>>({ broker: 'sqlite://' })
const product = await client.tasks['shop.multiply'].delay(6, 7).get(wait)
// endregion
equal(product, 42)

// region remote
interface PythonTasks {
  'ml.embed': (text: string, dimensions?: number) => number[]
  'ml.train': (input: { dataset: string; epochs: number }) => { loss: number }
}
const py = app.remotes<PythonTasks>()
const embedding = await py['ml.embed'].delay('hello', 3)
// endregion
match(embedding.id, /^[0-9a-f-]{36}$/)

console.log('all as expected')

/** Waits until a worker has put it there. */
async function deadLettersOf(taskId: string) {
  for (;;) {
    const letters = (await app.deadLetters.list()).filter(({ message }) => message.headers.id === taskId)
    if (letters.length > 0) return letters
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
