/** Results as every store that processes share must keep them (reliability.md B.8). */
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { ResultBackend } from '../../dist/backend.js'
import { Celeriac, TaskFailure } from '../../dist/index.js'
import type { ResultMeta } from '../../dist/protocol/result.js'
import { rounds } from '../harness/depth.js'
import type { FaultTest } from '../harness/fault-test.js'

const meta = (taskId: string, status: string, result: unknown): ResultMeta => ({
  taskId,
  status,
  result,
  traceback: null,
  children: [],
  dateDone: null,
})

function backendOf(app: Celeriac): Promise<ResultBackend> {
  return Celeriac.internals(app).core.connections.backend()
}

export function resultRows(faultTest: FaultTest): void {
  faultTest({ id: 'T4', promise: 'a stored failure that names a module of ours is data: nothing is looked up' }, async (scene) => {
    const backend = await backendOf(scene.app)
    for (const [module, type] of [
      ['child_process', 'exec'],
      ['node:fs', 'rmSync'],
      ['builtins', 'eval'],
      ['__proto__', 'constructor'],
      ['celery.exceptions', '__proto__'],
    ]) {
      const id = randomUUID()
      await backend.store(meta(id, 'FAILURE', { exc_type: type, exc_module: module, exc_message: ['touch /tmp/hit'] }), {
        expiresSeconds: null,
      })
      const failure = await scene.result(id)
      expect(failure).toBeInstanceOf(TaskFailure)
      expect(failure).toMatchObject({ excType: type, excModule: module, args: ['touch /tmp/hit'], name: 'TaskFailure' })
    }
  })

  faultTest(
    { id: 'T7', promise: 'of two runs that race for the end of a task, again and again, one wins and the other is told' },
    async (scene) => {
      const other = new Celeriac('other', { brokerUrl: scene.url, ...scene.broker.options })
      const [one, two] = [await backendOf(scene.app), await backendOf(other)]
      try {
        for (let round = 0; round < rounds(200, 1_000); round++) {
          const id = `race-${round}`
          const ends = [meta(id, 'SUCCESS', round), meta(id, 'FAILURE', { exc_type: 'Late', exc_module: 'node', exc_message: [round] })]
          const [first, second] = round % 2 === 0 ? ends : ends.toReversed()
          if (first === undefined || second === undefined) throw new Error('unreachable')
          const won = await Promise.all([one.store(first, { expiresSeconds: null }), two.store(second, { expiresSeconds: null })])
          expect(won.filter(Boolean)).toHaveLength(1)
          const winner = won[0] ? first : second
          expect((await two.get(id))?.status).toBe(winner.status)
          // Whatever comes later changes nothing.
          expect(await one.store(meta(id, 'SUCCESS', 'stale'), { expiresSeconds: null })).toBe(false)
          expect(await two.store(meta(id, 'RETRY', null), { expiresSeconds: null })).toBe(false)
          expect((await one.get(id))?.status).toBe(winner.status)
        }
      } finally {
        await other.close()
      }
    },
  )
}
