/** Whatever fails in a workflow, and wherever: the whole of it ends, and so does every task that its handle knows. */

import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Sig, TaskFailure } from '../../dist/index.js'
import type { ResultTuple } from '../../dist/protocol/result.js'
import { build, evaluate, type Tree, trees } from '../canvas/random.js'
import { rounds } from '../harness/depth.js'
import { LiveApp } from '../live-app.js'

let live: LiveApp
let tagged: (tag: string, immutable: boolean) => Sig<unknown, unknown, true>
beforeAll(async () => {
  live = new LiveApp()
  const echo = live.app.task('echo', (...args: unknown[]) => {
    if (args.at(-1) === 'a') throw new TypeError('a fails')
    return args
  }) as unknown as { s(...args: unknown[]): Sig<unknown, unknown, true>; si(...args: unknown[]): Sig<unknown, unknown, true> }
  tagged = (tag, immutable) => (immutable ? echo.si(tag) : echo.s(tag))
  await live.work({ concurrency: 10 })
})
afterAll(() => live?.[Symbol.asyncDispose]())

function fails(tree: Tree): boolean {
  switch (tree.kind) {
    case 'task':
      return tree.tag === 'a'
    case 'chain':
      return tree.steps.some(fails)
    case 'group':
      return tree.members.some(fails)
    case 'chord':
      return tree.header.some(fails) || fails(tree.body)
  }
}

function idsIn([[id, parent], members]: ResultTuple): readonly string[] {
  return [...(members === null ? [id] : members.flatMap(idsIn)), ...(parent === null ? [] : idsIn(parent))]
}

test('a workflow with a task that fails has failed, and nobody waits for any part of it', async () => {
  await fc.assert(
    fc.asyncProperty(trees(4), async (tree) => {
      const sent = await build(tree, tagged).delay()
      const result = await sent.get({ timeout: 10, propagate: false }).catch((error: unknown) => error)
      if (fails(tree)) {
        await expect(sent.get({ timeout: 30 })).rejects.toBeInstanceOf(TaskFailure)
        for (const id of idsIn(sent.asTuple())) await live.app.result(id).get({ timeout: 10, propagate: false })
      } else expect(result).toEqual(evaluate(tree))
    }),
    { numRuns: rounds(60, 150) },
  )
}, 120_000)
