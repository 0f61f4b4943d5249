// @ts-check
// Medians, per-round ratios with their spread, and the verdict on each floor, as text.
import { floors } from './floors.mjs'

/**
 * @typedef {import('./rows.mjs').Row} Row
 * @typedef {{ row: string, variant: string, round: number, numbers: Record<string, number> }} Sample
 * @typedef {{ goal: string, says: string, floor: string, measured: string, verdict: 'PASS' | 'FAIL' }} Verdict
 */

/** @type {Readonly<Record<string, string>>} */
const headings = {
  perSecond: 'per second',
  ofIdeal: 'of ideal',
  cpuMicros: 'CPU µs a task',
  allCpuMicros: 'with the Redis server',
  rssMb: 'RSS MB',
  pssMb: 'PSS MB',
  processes: 'processes',
  bytesATask: 'bytes a task',
  p50Ms: 'p50 ms',
  p99Ms: 'p99 ms',
  startMs: 'start-up ms',
  chordMs: 'chord ms',
  microsEach: 'µs a member',
  producerMb: "producer's peak MB",
  share: 'least/most share',
  worstMs: 'worst wait ms',
  cpuPercent: 'CPU %',
}
/** Compared with the bases; the others stand for themselves. */
const compared = new Set([
  'perSecond',
  'cpuMicros',
  'allCpuMicros',
  'rssMb',
  'pssMb',
  'bytesATask',
  'p50Ms',
  'startMs',
  'chordMs',
  'cpuPercent',
])

/** One table in Markdown. @param {Row} row @param {readonly Sample[]} samples */
export function tableOf(row, samples) {
  const mine = samples.filter((sample) => sample.row === row.name)
  const metrics = Object.keys(headings).filter((metric) => mine.some(({ numbers }) => metric in numbers))
  const bases = row.bases.filter((base) => mine.some(({ variant }) => variant === base))
  const columns = metrics.flatMap((metric) => [
    { metric, of: /** @type {string | undefined} */ (undefined) },
    ...(compared.has(metric) ? bases.map((of) => ({ metric, of: /** @type {string | undefined} */ (of) })) : []),
  ])
  const labels = new Map(row.variants.map(({ name, label }) => [name, label]))
  const head = ['', ...columns.map(({ metric, of }) => (of === undefined ? (headings[metric] ?? metric) : `of ${labels.get(of)}`))]
  const lines = row.variants
    .filter(({ name }) => mine.some(({ variant }) => variant === name))
    .map(({ name, label }) => [label, ...columns.map(({ metric, of }) => spread(values(mine, name, metric, of), of !== undefined))])
  return [
    `### ${row.title} (\`${row.name}\`)`,
    '',
    line(head),
    line(head.map((_, at) => (at === 0 ? '--' : '--:'))),
    ...lines.map(line),
    '',
  ].join('\n')
}

/** @param {readonly Sample[]} samples @returns {readonly Verdict[]} */
export function verdicts(samples) {
  return floors.flatMap(({ goal, says, row, variant, metric, of, least, most }) => {
    const found = values(
      samples.filter((sample) => sample.row === row),
      variant,
      metric,
      of,
    )
    if (found.length === 0) return []
    const middle = median(found)
    const holds = (least === undefined || middle >= least) && (most === undefined || middle <= most)
    return [
      {
        goal,
        says,
        floor: least === undefined ? `<= ${most}` : `>= ${least}`,
        measured: spread(found, true),
        verdict: holds ? 'PASS' : 'FAIL',
      },
    ]
  })
}

/** The value of each round, or its ratio to another variant's value of the same round. @param {readonly Sample[]} samples @param {string} variant @param {string} metric @param {string} [of] */
function values(samples, variant, metric, of) {
  return samples
    .filter((sample) => sample.variant === variant)
    .flatMap(({ round, numbers }) => {
      const value = numbers[metric]
      if (of === undefined) return value === undefined ? [] : [value]
      const base = samples.find((sample) => sample.variant === of && sample.round === round)?.numbers[metric]
      return value === undefined || base === undefined ? [] : [value / base]
    })
}

/** @param {readonly number[]} numbers @param {boolean} isRatio */
function spread(numbers, isRatio) {
  if (numbers.length === 0) return ''
  const middle = show(median(numbers))
  if (numbers.length === 1) return middle
  return isRatio ? `${middle} [${show(Math.min(...numbers))}–${show(Math.max(...numbers))}]` : middle
}

/** @param {number} value */
function show(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  if (value >= 100) return value.toFixed(0)
  if (value >= 10) return value.toFixed(1)
  return value >= 0.1 ? value.toFixed(2) : value.toFixed(3)
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** @param {readonly string[]} cells */
function line(cells) {
  return `| ${cells.join(' | ')} |`
}
