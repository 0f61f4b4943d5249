import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { fillAbilities, fillSeen } from '../../scripts/guarantees.mjs'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const table = (head: string, ...rows: readonly string[]): string =>
  `Text\n\n<!-- from ${head} -->\n\n| a | b |\n|---|---|\n${rows.map((row) => `${row}\n`).join('')}\nEnd\n`
const rowsOf = (page: string): string[][] =>
  page
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )

test('a row of the guarantees names the faults that were seen on each broker, and no others', () => {
  const results =
    '- **P1** (sqlite, async) x.\n- **P1** (redis, prefork) x.\n- **P10** (redis) x.\n\n## Not seen\n\n- **P2** (redis) x. Why not: y.\n'
  const page = table('reliability-results.md', '| it holds | P1, P2 | | |', '| always | P10 | | |')
  const filled = fillSeen(page, results)
  expect(rowsOf(filled).slice(2)).toEqual([
    ['it holds', 'P1, P2', 'P1', 'P1', '–'],
    ['always', 'P10', '–', 'P10', '–'],
  ])
  expect(filled).toMatch(/^Text\n[\s\S]*\n\nEnd\n$/)
  expect(fillSeen(filled, results)).toBe(filled)
})

test('what a driver says that it can do is the column of its name', () => {
  const supports = {
    exchangeTypes: ['direct'],
    priority: 'lower-first',
    nativeDelay: false,
    persistent: true,
    shared: true,
    queueAge: 'ours',
  }
  const [head, , ...rows] = rowsOf(fillAbilities(table('the drivers'), [{ name: 'redis', supports }]))
  expect(head).toEqual(['', '`redis`'])
  expect(rows.map(([, says]) => says)).toEqual([
    'yes',
    'yes',
    'the lower priority',
    'where a worker puts it: the broker, or for a while itself',
    'told of what celeriac has sent',
    'direct',
  ])
})

test('every fault that docs/guarantees.md names is a test', () => {
  const tests = readdirSync(new URL('../faults', import.meta.url))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => read(`test/faults/${name}`))
    .join('\n')
  const [, page = ''] = read('docs/guarantees.md').split('<!-- from reliability-results.md -->')
  const ids = rowsOf(page.split('\n\n')[1] ?? '')
    .slice(2)
    .flatMap(([, named = '']) => named.split(', '))
  expect(ids.length).toBeGreaterThan(40)
  expect(ids.filter((id) => !tests.includes(`'${id}'`))).toEqual([])
})
