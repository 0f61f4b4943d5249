// Sends work to the worker in the other process, and shows each result as it comes.

import { TaskFailure } from 'celeriac'
import { SingleBar } from 'cli-progress'
import { add, app, divide, remind, sendEmail, square } from './tasks.ts'

const started = performance.now()
const rows: { call: string; sent: string; outcome: string }[] = []

async function show(call: string, work: { readonly id: string; get(options: { timeout: number }): Promise<unknown> }): Promise<void> {
  const at = performance.now()
  let outcome: string
  try {
    outcome = JSON.stringify(await work.get({ timeout: 30 }))
  } catch (error) {
    if (!(error instanceof TaskFailure)) throw error
    outcome = `${error.excType}: ${error.message}`
  }
  const seconds = `${((performance.now() - at) / 1000).toFixed(3)} s`
  console.log(`  ${call.padEnd(42)} ${outcome}   (${seconds})`)
  rows.push({ call, sent: seconds, outcome })
}

console.log('\nResults, as they come:\n')
await Promise.all([
  show('add.delay(2, 3)', add.delay(2, 3)),
  show("sendEmail.delay('ada@example.com')", sendEmail.delay('ada@example.com')),
  show('remind.applyAsync([…], { countdown: 2 })', remind.applyAsync(['the milk'], { countdown: 2 })),
  show('divide.delay(1, 0)', divide.delay(1, 0)),
])

const count = 1_000
const bulkStarted = performance.now()
const bar = new SingleBar({
  format: '\n  square × {total}  [{bar}] {value}/{total}',
  hideCursor: true,
  noTTYOutput: true,
  notTTYSchedule: 5_000,
})
bar.start(count, 0)
const sum = await Promise.all(
  Array.from({ length: count }, async (_, n) => {
    const squared = await square.delay(n).get({ timeout: 30 })
    bar.increment()
    return squared
  }),
)
bar.stop()
const bulkSeconds = (performance.now() - bulkStarted) / 1000
rows.push({
  call: `square.delay(n), ${count} times`,
  sent: `${bulkSeconds.toFixed(3)} s`,
  outcome: `sum ${sum.reduce((a, b) => a + b, 0)}`,
})

console.log('\n')
console.table(Object.fromEntries(rows.map(({ call, sent, outcome }) => [call, { 'result after': sent, result: outcome }])))
console.log(
  `${rows.length - 1 + count} tasks in ${((performance.now() - started) / 1000).toFixed(1)} s, ${Math.round(count / bulkSeconds)} tasks/s in bulk.`,
)
await app.close()
