/** A row of the fault catalogue as a test: the scene, the fault, then the verdict. Each that passes writes one line for docs/reliability-results.md. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { type Depth, isTaken } from './depth.js'
import { Scene } from './scene.js'
import type { SceneBroker } from './scene-broker.js'
import { SqliteBroker } from './sqlite-broker.js'

export interface Row {
  /** Of the catalogue: `P1`. */
  readonly id: string
  /** What holds, in one sentence without a full stop. */
  readonly promise: string
  /** Further rows that the same body shows, on one worker: each start of one takes a second. */
  readonly also?: readonly Pick<Row, 'id' | 'promise'>[]
  /** The pool where it matters, or what else tells two rows of one promise apart. */
  readonly variant?: string
  /** Starts beyond the first of each task, at most. */
  readonly dupBound?: number
  /** Messages that stay in the queue on purpose. */
  readonly left?: number
  /** Why this machine cannot show it. */
  readonly skip?: string | undefined
  /** What hangs ends then; each wait in it has a deadline of its own. */
  readonly timeoutMs?: number
  /** At the same time as other rows of its file. */
  readonly concurrent?: boolean
  /** By default it runs each time. */
  readonly depth?: Depth | undefined
}

/** What a test may add to its line. */
export interface Seen {
  /** From the fault to the first run after it. */
  readonly recoverMs?: number
}

/** Makes tests on one kind of broker; rows that hold on every one are written against this. */
export type FaultTest<Broker extends SceneBroker = SceneBroker, More = object> = (
  row: Row & More,
  body: (scene: Scene<Broker>) => Promise<Seen | undefined> | Promise<void>,
) => void

const folder = process.env.CELERIAC_TEST_FOLDER ?? fileURLToPath(new URL('../../.cache', import.meta.url))

export function faultTestOn<Broker extends SceneBroker, More extends object>(
  name: string,
  makeBroker: (folder: string, more: More) => Broker | Promise<Broker>,
): FaultTest<Broker, More> {
  return (row, body) => {
    const { id, promise, also = [], variant, dupBound = 0, left = 0, timeoutMs = 120_000, skip, concurrent = false, depth } = row
    if (!isTaken(depth)) return
    const driver = variant === undefined ? name : `${name}, ${variant}`
    const rows = [{ id, promise }, ...also]
    const noteAll = (facts: Readonly<Record<string, number | string>>): void => {
      for (const each of rows) note({ ...each, driver, dupBound, depth }, facts)
    }
    const title = `${rows.map((each) => each.id).join(' ')} [${driver}] ${promise}${also.length === 0 ? '' : `; and ${also.length} more`}`
    if (skip !== undefined) {
      noteAll({ skipped: skip })
      test.skip(`${title} (${skip})`)
      return
    }
    test(title, { timeout: timeoutMs, concurrent }, async () => {
      await using scene = await Scene.open((folder) => makeBroker(folder, row))
      const seen = (await body(scene)) ?? {}
      await scene.stopWorkers()
      const verdict = await scene.verdict(left)
      const { lost, unexpected, stuck, orphans } = verdict
      expect({ lost, unexpected, stuck, orphans, left: verdict.left }).toEqual({ lost: [], unexpected: [], stuck: [], orphans: [], left })
      expect(verdict.dup).toBeLessThanOrEqual(dupBound)
      const { attempted, confirmed } = scene.ledger
      noteAll({ attempted: attempted.size, confirmed: confirmed.size, ended: verdict.ended, lost: 0, dup: verdict.dup, ...seen })
    })
  }
}

/** On the embedded broker; `query` is the end of its URL. */
export const faultTest = faultTestOn('sqlite', (folder, { query }: { readonly query?: string }) => new SqliteBroker(folder, query))

/** A row of the catalogue that has no queue to judge: it says itself what must hold. */
export function statementTest(
  row: Pick<Row, 'id' | 'promise' | 'timeoutMs' | 'depth'> & { readonly driver: string },
  body: () => Promise<void> | void,
): void {
  const { id, promise, driver, timeoutMs = 120_000, depth } = row
  if (!isTaken(depth)) return
  test(
    `${id} [${driver}] ${promise}`,
    async () => {
      await body()
      note({ id, driver, promise, dupBound: null, depth }, {})
    },
    timeoutMs,
  )
}

/** A row of the catalogue that no machine at hand can show: the page names it with the reason. */
export function unseen({
  id,
  driver,
  promise,
  because,
}: {
  readonly id: string
  readonly driver: string
  readonly promise: string
  readonly because: string
}): void {
  test.skip(`${id} [${driver}] ${promise} (${because})`)
  note({ id, driver, promise, dupBound: null }, { unseen: because })
}

interface Line {
  readonly id: string
  readonly driver: string
  readonly promise: string
  readonly dupBound: number | null
  readonly depth?: Depth | undefined
}

function note(line: Line, facts: Readonly<Record<string, number | string>>): void {
  mkdirSync(folder, { recursive: true })
  appendFileSync(join(folder, 'faults.jsonl'), `${JSON.stringify({ ...line, ...facts })}\n`)
}
