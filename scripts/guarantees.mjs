// @ts-check
// Two tables of docs/guarantees.md: what each broker can do, from its driver's `supports`, and which rows of docs/reliability-results.md were seen on it.

/** Drivers by their name on the results page, and how the page calls them. @type {Readonly<Record<string, string>>} */
const columns = { sqlite: 'Embedded', redis: 'Redis', rabbitmq: 'RabbitMQ' }

/** @typedef {{ name: string, supports: { exchangeTypes: readonly string[], priority: string, nativeDelay: boolean, persistent: boolean, shared: boolean, queueAge: string } }} Driver */

/** The table below `<!-- from the drivers -->`. @param {string} page @param {readonly Driver[]} drivers */
export function fillAbilities(page, drivers) {
  const yes = (/** @type {boolean} */ value) => (value ? 'yes' : 'no')
  /** @type {readonly [what: string, say: (supports: Driver['supports']) => string][]} */
  const rows = [
    ['Messages outlive the process that sent them', ({ persistent }) => yes(persistent)],
    ['More than one process', ({ shared }) => yes(shared)],
    [
      'Served first',
      ({ priority }) => ({ 'higher-first': 'the higher priority', 'lower-first': 'the lower priority' })[priority] ?? 'who came first',
    ],
    [
      'Where a task waits for its time',
      ({ nativeDelay }) => (nativeDelay ? 'in the broker' : 'where a worker puts it: the broker, or for a while itself'),
    ],
    [
      'For how long the oldest message waits',
      ({ queueAge }) => ({ all: 'told', ours: 'told of what celeriac has sent' })[queueAge] ?? 'not told',
    ],
    ['Exchanges', ({ exchangeTypes }) => exchangeTypes.join(', ')],
  ]
  const table = [
    ['', ...drivers.map(({ name }) => `\`${name}\``)],
    ['---', ...drivers.map(() => '---')],
    ...rows.map(([what, say]) => [what, ...drivers.map(({ supports }) => say(supports))]),
  ]
  return page.replace(/(<!-- from the drivers -->\n\n)(?:\|[^\n]*\n)*/, (_, head) => `${head}${aligned(table)}`)
}

/**
 * The table below `<!-- from reliability-results.md -->`: in the second column stand ids of rows; the columns behind it say which of them were seen on which
 * broker. @param {string} page @param {string} results
 */
export function fillSeen(page, results) {
  const [seen = ''] = results.split('\n## Not seen\n')
  const rows = new Set([...seen.matchAll(/^- \*\*(\S+)\*\* \((\w+)/gm)].map(([, id, driver]) => `${driver} ${id}`))
  return page.replace(/(<!-- from reliability-results\.md -->\n\n)((?:\|[^\n]*\n)*)/, (_, head, /** @type {string} */ table) => {
    const given = table.split('\n').filter(Boolean).slice(2)
    const filled = given.map((line) => {
      const [promise = '', ids = ''] = cells(line)
      const found = Object.keys(columns).map((driver) => {
        const there = ids.split(', ').filter((id) => rows.has(`${driver} ${id}`))
        return there.length === 0 ? '–' : there.join(', ')
      })
      return [promise, ids, ...found]
    })
    const titles = ['Promise', 'Rows', ...Object.values(columns)]
    return `${head}${aligned([titles, titles.map(() => '---'), ...filled])}`
  })
}

/** @param {string} line */
function cells(line) {
  return line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim())
}

/** As the formatter writes tables. @param {readonly (readonly string[])[]} table */
function aligned(table) {
  const widths = (table[0] ?? []).map((_, column) => Math.max(3, ...table.map((row) => row[column]?.length ?? 0)))
  const line = (/** @type {readonly string[]} */ row) =>
    `| ${row.map((cell, column) => (cell === '---' ? '-'.repeat(widths[column] ?? 3) : cell.padEnd(widths[column] ?? 3))).join(' | ')} |\n`
  return table.map(line).join('')
}
