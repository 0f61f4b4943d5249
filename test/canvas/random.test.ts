/** Whatever the workflow, it gives what a plain evaluation of the same tree gives. */

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sig } from '../../dist/index.js'
import { needs } from '../../scripts/needs.mjs'
import { startRedis } from '../../scripts/services.mjs'
import { rounds } from '../harness/depth.js'
import { LiveApp } from '../live-app.js'
import { build, evaluate, type Tree, trees } from './random.js'

const brokers: readonly [string, () => Promise<{ readonly url: string | undefined; stop(): Promise<void> }>][] = [
  ['memory', async () => ({ url: undefined, stop: async () => undefined })],
  ['redis', () => startRedis()],
]

describe.each(brokers)('on %s', (name, start) => {
  const missing = name === 'redis' && needs.redis?.find() === undefined
  let server: Awaited<ReturnType<typeof start>>
  let live: LiveApp
  let tagged: (tag: string, immutable: boolean) => Sig<unknown, unknown, true>
  beforeAll(async () => {
    if (missing) return
    server = await start()
    live = new LiveApp(server.url === undefined ? {} : { broker: server.url })
    const echo = live.app.task('echo', (...args: unknown[]) => args) as unknown as {
      s(...args: unknown[]): Sig<unknown, unknown, true>
      si(...args: unknown[]): Sig<unknown, unknown, true>
    }
    tagged = (tag, immutable) => (immutable ? echo.si(tag) : echo.s(tag))
    await live.work({ concurrency: 10 })
  })
  afterAll(async () => {
    await live?.[Symbol.asyncDispose]()
    await server?.stop()
  })

  test.skipIf(missing)(
    'a workflow of depth 4 or less gives what its evaluation gives',
    async () => {
      await fc.assert(
        fc.asyncProperty(trees(4), async (tree: Tree) => {
          expect(await build(tree, tagged).delay().get({ timeout: 10 })).toEqual(evaluate(tree))
        }),
        { numRuns: rounds(60, 150) },
      )
    },
    60_000,
  )
})
