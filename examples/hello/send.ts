// Sends work to the worker in the other process and shows each result as it comes. Ends with exit code 1 when one is not what it should be.
import { type AsyncResult, type Enqueued, TaskFailure } from 'celeriac'
import { SingleBar } from 'cli-progress'
import { add, app, divide, remind, sendEmail, square } from './tasks.ts'

interface Row {
  readonly call: string
  readonly result: string
  readonly took: string
}

const rows: Row[] = []
const wrong: string[] = []
const started = performance.now()

console.log('\nResults, as they come:\n')
await Promise.all([
  show('add.delay(2, 3)', add.delay(2, 3), '5'),
  show("sendEmail.delay('ada@example.com')", sendEmail.delay('ada@example.com'), '{"to":"ada@example.com","tries":2}'),
  show("remind.applyAsync(['the milk'], { countdown: 2 })", remind.applyAsync(['the milk'], { countdown: 2 }), '"remember: the milk"'),
  show('divide.delay(1, 0)', divide.delay(1, 0), 'DivisionByZero: 1 / 0 has no value'),
])
const perSecond = await showMany(1_000)

printTable()
console.log(`\n${rows.length - 1 + 1_000} tasks in ${seconds(started)}, the thousand at ${perSecond} tasks a second, results included.`)
if (wrong.length > 0) {
  console.error(`\nNot as expected:\n${wrong.map((line) => `  ${line}`).join('\n')}`)
  process.exitCode = 1
}
await app.close()

async function show(call: string, sent: Enqueued<unknown>, expected: string): Promise<void> {
  const at = performance.now()
  const result = await outcomeOf(await sent)
  record({ call, result, took: seconds(at) }, expected)
  console.log(`  ${call.padEnd(50)} ${result}`)
}

async function outcomeOf(sent: AsyncResult<unknown>): Promise<string> {
  try {
    return JSON.stringify(await sent.get({ timeout: '30s' }))
  } catch (error) {
    if (error instanceof TaskFailure) return `${error.excType}: ${error.message}`
    throw error
  }
}

async function showMany(count: number): Promise<number> {
  const at = performance.now()
  const numbers = Array.from({ length: count }, (_, n) => n)
  // A bar is for people who watch it; a file or a pipe gets one line.
  const bar = process.stderr.isTTY ? new SingleBar({ format: '  {bar} {value}/{total}', hideCursor: true }) : undefined
  console.log(`\nsquare.delay(n), ${count} times:\n`)
  bar?.start(count, 0)
  const squares = await Promise.all(
    numbers.map(async (n) => {
      const squared = await square.delay(n).get({ timeout: '30s' })
      bar?.increment()
      return squared
    }),
  )
  bar?.stop()
  if (bar === undefined) console.log(`  ${count} of ${count} done`)
  const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0)
  record(
    { call: `square.delay(n), ${count} times`, result: `sum ${sum(squares)}`, took: seconds(at) },
    `sum ${sum(numbers.map((n) => n * n))}`,
  )
  return Math.round(count / ((performance.now() - at) / 1000))
}

function record(row: Row, expected: string): void {
  rows.push(row)
  if (row.result !== expected) wrong.push(`${row.call}: expected ${expected}, got ${row.result}`)
}

function printTable(): void {
  const all = [{ call: 'call', result: 'result', took: 'after' }, ...rows]
  const width = (key: keyof Row): number => Math.max(...all.map((row) => row[key].length))
  const line = ({ call, result, took }: Row): string =>
    `  ${call.padEnd(width('call'))}   ${result.padEnd(width('result'))}   ${took.padStart(width('took'))}`
  const [head = '', ...body] = all.map(line)
  console.log(`\n${[head, `  ${'─'.repeat(head.length - 2)}`, ...body].join('\n')}`)
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(2)} s`
}
