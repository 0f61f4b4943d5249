/** Which rows `npm test` takes of those that `npm run test:full` shows (test/harness/depth.ts), seen from the page that lists all of them. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { isTaken, someOf, takesCell } from '../harness/depth.js'
import type { FaultTest, Row } from '../harness/fault-test.js'

interface Shown {
  readonly id: string
  readonly driver: string
  readonly variant: readonly string[]
  /** Of its id and what holds. */
  readonly promise: string
  readonly isFull: boolean
}

const page = readFileSync(new URL('../../docs/reliability-results.md', import.meta.url), 'utf8')
const rows = [...page.matchAll(/^- \*\*(\S+)\*\* \((\w+)(?:, (.*?))?\) (.*?)( \(full run\))?$/gm)].map(
  ([, id = '', driver = '', variant = '', promise = '', mark]): Shown => ({
    id,
    driver,
    variant: variant.split(', '),
    promise: `${id} ${promise}`,
    isFull: mark !== undefined,
  }),
)

/** Groups of rows of which the normal run takes none. */
function leftOut(keyOf: (row: Shown) => string, of = rows): string[] {
  const taken = new Set(of.filter(({ isFull }) => !isFull).map(keyOf))
  return [...new Set(of.map(keyOf))].filter((key) => !taken.has(key))
}

const faultClass = ({ id }: Shown): string => id.replace(/\d+$/, '')

test('npm test takes each promise at least once', () => {
  expect(rows.length).toBeGreaterThan(200)
  expect(rows.filter(({ isFull }) => isFull).length).toBeGreaterThan(40)
  expect(leftOut(({ promise }) => promise)).toEqual([])
})

test('npm test takes each class of faults on each broker, and each type of queue, where the full run has it', () => {
  expect(leftOut((row) => `${faultClass(row)} ${row.driver}`)).toEqual([])
  const types = rows.filter(({ variant }) => /^(classic|quorum)$/.test(variant[0] ?? ''))
  expect(types.length).toBeGreaterThan(10)
  expect(leftOut((row) => `${faultClass(row)} ${row.variant[0]}`, types)).toEqual([])
})

test('npm test takes each class of faults with each pool', () => {
  const pools = rows.flatMap((row) =>
    row.variant.filter((part) => /^(async|prefork)$/.test(part)).map((pool) => ({ ...row, variant: [pool] })),
  )
  expect(pools.length).toBeGreaterThan(20)
  expect(leftOut((row) => `${faultClass(row)} ${row.variant[0]}`, pools)).toEqual([])
})

test('a full run takes all rows, another those that do not belong to it', () => {
  expect([isTaken(undefined, false), isTaken('full', false)]).toEqual([true, false])
  expect([isTaken(undefined, true), isTaken('full', true)]).toEqual([true, true])
})

test('rows that a broker does not take keep all but their depth', () => {
  const made: Row[] = []
  const faultTest: FaultTest = (row) => void made.push(row)
  const some = someOf(faultTest, ({ id }) => id === 'P1')
  const body = async (): Promise<void> => {}
  some({ id: 'P1', promise: 'it holds', dupBound: 4 }, body)
  some({ id: 'P2', promise: 'it holds', variant: 'async' }, body)
  expect(made).toEqual([
    { id: 'P1', promise: 'it holds', dupBound: 4 },
    { id: 'P2', promise: 'it holds', variant: 'async', depth: 'full' },
  ])
})

test('of a matrix, each shape is taken in one cell, and each cell by some shape', () => {
  const shapes = Array.from({ length: 28 }, (_, n) => n)
  const cells = Array.from({ length: 6 }, (_, n) => n)
  for (const shape of shapes) expect(cells.filter((cell) => takesCell(shape, cell, 6, false))).toHaveLength(1)
  for (const cell of cells) expect(shapes.filter((shape) => takesCell(shape, cell, 6, false)).length).toBeGreaterThanOrEqual(4)
  expect(cells.every((cell) => takesCell(0, cell, 6, true))).toBe(true)
})
