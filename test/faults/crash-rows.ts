/** The crash matrix (reliability.md B.15): one task, and a kill -9 of the worker at one point of its road. The next worker makes good what is missing, and nothing twice. */
import { expect } from 'vitest'
import { someOf } from '../harness/depth.js'
import type { FaultTest, Row } from '../harness/fault-test.js'

const points = [
  { at: 'consume.after_claim', dup: 0 },
  { at: 'consume.before_start', dup: 0 },
  { at: 'run.started', dup: 1 },
  { at: 'run.after_return', dup: 1 },
  { at: 'result.after_store', dup: 0 },
  { at: 'continuation.after_one', dup: 0 },
  { at: 'ack.before_send', dup: 0 },
] as const

interface CrashOptions {
  /** The broker cannot be asked where a message is, so a link that was sent may be sent once more. */
  readonly linksAgain?: boolean
  /** Where a worker dies is the same for every broker: both pools on one of them. */
  readonly pools?: readonly ('prefork' | 'async')[]
  /** Those that run each time. */
  readonly takes: (row: Row) => boolean
}

export function crashRows(onBroker: FaultTest, { linksAgain = false, pools = ['prefork', 'async'], takes }: CrashOptions): void {
  const faultTest = someOf(onBroker, takes)
  for (const pool of pools) {
    for (const { at, dup } of points) {
      const mayRepeat = linksAgain && (at === 'ack.before_send' || at === 'continuation.after_one')
      faultTest(
        {
          id: 'B.15',
          variant: pool,
          promise: `kill -9 at ${at}: the task and both its links end, ${mayRepeat ? 'a link may run again' : 'each link runs once'}`,
          dupBound: mayRepeat ? 2 : dup,
        },
        async (scene) => {
          const doomed = scene.start({ pool, concurrency: 1, env: { CELERIAC_FAILPOINTS: `${at}=kill9@1` } })
          const links = [1, 2].map((n) => `link-${n}`)
          for (const link of links) scene.ledger.attempted.add(link)
          const id = await scene.send('work', [20], {
            link: links.map((taskId) => scene.app.remote<(value: number) => number>('good').si(1).set({ taskId })),
          })
          for (const link of links) scene.ledger.confirmed.add(link)
          expect(await doomed.end('SIGCONT')).toEqual({ code: null, signal: 'SIGKILL' })
          await scene.worker({ pool, concurrency: 1 })
          await scene.drained()
          expect(await scene.result(id)).toBe(20)
          if (!mayRepeat) for (const link of links) expect(scene.recorder.starts(link)).toHaveLength(1)
        },
      )
    }
  }

  faultTest(
    {
      id: 'B.15',
      variant: 'prefork',
      promise: 'kill -9 at shutdown.after_stop_consuming: what ran is run again, what waited is there',
      dupBound: 2,
    },
    async (scene) => {
      const doomed = await scene.worker({ concurrency: 2, env: { CELERIAC_FAILPOINTS: 'shutdown.after_stop_consuming=kill9@1' } })
      await scene.sendMany(2, 'hold', ['go'])
      await scene.recorder.started(2)
      await scene.sendMany(10, 'work', [1])
      expect(await doomed.end('SIGTERM')).toEqual({ code: null, signal: 'SIGKILL' })
      scene.release('go')
      await scene.worker()
      await scene.drained()
    },
  )
}
