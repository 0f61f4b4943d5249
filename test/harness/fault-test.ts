/** A row of the fault catalogue as a test: the scene, the fault, then the verdict. Each that passes writes one line for docs/reliability-results.md. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { Scene } from './scene.js'

export interface Row {
  /** Of the catalogue: `P1`. */
  readonly id: string
  /** What holds, in one sentence without a full stop. */
  readonly promise: string
  /** `sqlite`, and the pool where it matters. */
  readonly driver?: string
  /** Starts beyond the first of each task, at most. */
  readonly dupBound?: number
  /** Messages that stay in the queue on purpose. */
  readonly left?: number
  readonly query?: string
  /** Why this machine cannot show it. */
  readonly skip?: string | undefined
  readonly timeoutMs?: number
}

/** What a test may add to its line. */
export interface Seen {
  /** From the fault to the first run after it. */
  readonly recoverMs?: number
}

const folder = process.env.CELERIAC_TEST_FOLDER ?? fileURLToPath(new URL('../../.cache', import.meta.url))

export function faultTest(row: Row, body: (scene: Scene) => Promise<Seen | undefined> | Promise<void>): void {
  const { id, promise, driver = 'sqlite', dupBound = 0, left = 0, query, timeoutMs = 30_000, skip } = row
  if (skip !== undefined) {
    note(row, { skipped: skip })
    test.skip(`${id} [${driver}] ${promise} (${skip})`)
    return
  }
  test(
    `${id} [${driver}] ${promise}`,
    async () => {
      await using scene = new Scene(query === undefined ? {} : { query })
      const seen = (await body(scene)) ?? {}
      await scene.stopWorkers()
      const verdict = await scene.verdict()
      const { lost, unexpected, stuck, orphans } = verdict
      expect({ lost, unexpected, stuck, orphans, left: verdict.left }).toEqual({ lost: [], unexpected: [], stuck: [], orphans: [], left })
      expect(verdict.dup).toBeLessThanOrEqual(dupBound)
      const { attempted, confirmed } = scene.ledger
      note(row, { attempted: attempted.size, confirmed: confirmed.size, ended: verdict.ended, lost: 0, dup: verdict.dup, ...seen })
    },
    timeoutMs,
  )
}

/** A row of the catalogue that has no queue to judge: it says itself what must hold. */
export function statementTest(row: Omit<Row, 'dupBound' | 'left' | 'query'>, body: () => Promise<void> | void): void {
  const { id, promise, driver = 'sqlite', timeoutMs = 30_000 } = row
  test(
    `${id} [${driver}] ${promise}`,
    async () => {
      await body()
      note({ ...row, dupBound: null }, {})
    },
    timeoutMs,
  )
}

function note(
  { id, promise, driver = 'sqlite', dupBound = 0 }: Omit<Row, 'dupBound'> & { readonly dupBound?: number | null },
  facts: Readonly<Record<string, number | string>>,
): void {
  mkdirSync(folder, { recursive: true })
  appendFileSync(join(folder, 'faults.jsonl'), `${JSON.stringify({ id, driver, promise, dupBound, ...facts })}\n`)
}
