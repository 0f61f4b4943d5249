/**
 * How much of a matrix runs. One promise is held for each pool, broker, queue type and client; `npm test` takes of these what touches code of its own, and each
 * promise at least once (test/scripts/depth.test.ts); `npm run test:full` takes all of them.
 */
import type { FaultTest, Row } from './fault-test.js'
import type { SceneBroker } from './scene-broker.js'

/** `npm run test:full`, which scripts/test.mjs tells in the environment. */
export const isFullRun = process.env.CELERIAC_TESTS === 'full'

/** What a row says of itself: `full` belongs to the full run alone. */
export type Depth = 'full'

export const isTaken = (depth: Depth | undefined, full = isFullRun): boolean => full || depth !== 'full'

/** Rows that many brokers share: those that this one does not take belong to its full run. */
export function someOf<Broker extends SceneBroker, More>(
  faultTest: FaultTest<Broker, More>,
  takes: (row: Row) => boolean,
): FaultTest<Broker, More> {
  return (row, body) => faultTest(takes(row) ? row : { ...row, depth: 'full' }, body)
}

/** A part of the rounds of a random test, which finds in many runs what it does not in one; `full` rounds in a full run. */
export const rounds = (some: number, full: number): number => (isFullRun ? full : some)

/** Whether the cell of a matrix is taken that has as many cells for each shape: one of them, another for each shape. */
export const takesCell = (shape: number, cell: number, cells: number, full = isFullRun): boolean => full || shape % cells === cell
