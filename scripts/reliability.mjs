// @ts-check
// Writes docs/reliability-results.md from the lines that the fault tests leave (test/harness/fault-test.ts). `--check` writes nothing and fails when a row of
// the page has no passing line, or a passing line no row. `--full`: the lines are of a full run; else rows marked as such are neither asked for nor taken away.
// The last argument names the file of lines.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** @typedef {{ id: string, driver: string, promise: string, dupBound: number | null, depth?: 'full', skipped?: string, unseen?: string }} Line */

const head = `# What was seen to hold

<!-- Written by \`node scripts/reliability.mjs\` from the lines of the fault tests: change those. -->

Each line is a test with real processes: \`npm test\`, or, where it ends with "(full run)", \`npm run test:full\`. The second shows the same promises on
more pools, brokers and types of queue, where no other code of ours runs. Tasks are sent, something is killed, stopped, filled up or fed with nonsense, and
the queue is drained. Then each needs the same verdict: nothing that was confirmed is lost, nothing has run that was not sent, every task has a
terminal state, no process, file or message is left. No task is started twice, unless the line says how many starts more than one each the fault may cost.

`

/** Which section a line belongs to, by the first word of its driver. @type {Readonly<Record<string, string>>} */
const sections = { sqlite: 'The embedded broker', redis: 'Redis', rabbitmq: 'RabbitMQ' }
const others = 'Without a broker'
const unseenSection = 'Not seen'
const fullRunMark = ' (full run)'

/** One page of rows. `kept`: further rows as they stand on a page. @param {readonly Line[]} lines @param {readonly string[]} [kept] @returns {string} */
export function makePage(lines, kept = []) {
  /** @type {Map<string, Set<string>>} */
  const bySection = new Map([...Object.values(sections), others, unseenSection].map((title) => [title, new Set()]))
  for (const row of [...lines.map(rowOf), ...kept]) bySection.get(sectionOf(row))?.add(row)
  const parts = [...bySection].filter(([, rows]) => rows.size > 0).map(([title, rows]) => `## ${title}\n\n${sorted(rows)}`)
  return head + parts.join('\n')
}

/** @param {Line} line */
function rowOf({ id, driver, promise, dupBound, depth, unseen }) {
  const again = dupBound === null || dupBound === 0 ? '' : ` Starts more than one each: at most ${dupBound}.`
  const because = unseen === undefined ? '' : ` Why not: ${unseen}.`
  return `- **${id}** (${driver}) ${promise}.${again}${because}${depth === 'full' ? fullRunMark : ''}`
}

/** @param {string} row */
function sectionOf(row) {
  if (row.includes(' Why not: ')) return unseenSection
  return sections[/\((\w+)/.exec(row)?.[1] ?? ''] ?? others
}

/** @param {ReadonlySet<string>} rows */
function sorted(rows) {
  const key = (/** @type {string} */ row) => row.replace(/^- \*\*(\S+)\*\* \((.*?)\)/, '$1 $2')
  const order = [...rows].sort((a, b) => key(a).localeCompare(key(b), 'en', { numeric: true }))
  return order.map((row) => `${row}\n`).join('')
}

/** The rows of a page that only a full run shows. @param {string} page */
export function fullRunRows(page) {
  return page.split('\n').filter((row) => row.startsWith('- **') && row.endsWith(fullRunMark))
}

/**
 * What is wrong with the page, in sentences; none when it is as the lines say. @param {string} page @param {readonly Line[]} lines
 * @param {{ full?: boolean }} [run]
 */
export function problems(page, lines, { full = false } = {}) {
  const promised = new Set(page.split('\n'))
  const shown = new Set(makePage(lines, full ? [] : fullRunRows(page)).split('\n'))
  return [
    ...[...promised].filter((row) => !shown.has(row)).map((row) => `no test has shown this: ${row}`),
    ...[...shown].filter((row) => !promised.has(row)).map((row) => `not on the page: ${row}`),
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const [file = `${root}/.cache/faults.jsonl`] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
  const page = `${root}/docs/reliability-results.md`
  /** @type {Line[]} */
  const lines = existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    : []
  const full = process.argv.includes('--full')
  const present = existsSync(page) ? readFileSync(page, 'utf8') : ''
  if (process.argv.includes('--check')) {
    const wrong = problems(present, lines, { full })
    for (const { id, driver, promise, skipped } of lines) {
      if (skipped !== undefined) console.log(`not seen here (${skipped}): ${id} (${driver}) ${promise}`)
    }
    for (const sentence of wrong) console.log(sentence)
    if (wrong.length > 0) process.exitCode = 1
  } else {
    writeFileSync(page, makePage(lines, full ? [] : fullRunRows(present)))
    console.log(`docs/reliability-results.md: ${new Set(lines.map((line) => line.id)).size} ids`)
  }
}
