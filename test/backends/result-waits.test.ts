import { expect, test } from 'vitest'
import { ResultWaits } from '../../dist/backends/result-waits.js'
import { Deferred } from '../../dist/internal/deferred.js'
import type { ResultMeta } from '../../dist/protocol/result.js'
import { meta } from '../conformance/backend.js'
import { settled } from '../conformance/wait.js'

function waitFor(ids: readonly string[]) {
  const calls: string[] = []
  const waits = new ResultWaits({
    open: () => calls.push('open'),
    close: () => calls.push('close'),
    leave: (left) => calls.push(`leave ${left}`),
  })
  const read = new Deferred<ReadonlyMap<string, ResultMeta>>()
  const stop = new AbortController()
  const watch = (some: readonly string[]) => {
    const seen: string[] = []
    const ended = (async () => {
      for await (const state of waits.wait(some, stop.signal, () => read.promise)) seen.push(`${state.taskId} ${state.status}`)
    })()
    ended.catch(() => undefined)
    return { seen, ended }
  }
  return { ...watch(ids), waits, read, stop, calls, watch }
}

test('a state that was heard of while the read was on its way is not told again, and nothing older either', async () => {
  const { seen, ended, waits, read } = waitFor(['a', 'b', 'c'])
  waits.deliver(meta('a', 'PROGRESS'))
  read.resolve(new Map([meta('a', 'STARTED'), meta('b', 'STARTED'), meta('c')].map((state) => [state.taskId, state])))
  await settled()
  waits.deliver(meta('b', 'STARTED'))
  waits.deliver(meta('c'))
  await settled()
  expect(seen).toEqual(['a PROGRESS', 'b STARTED', 'c SUCCESS'])
  waits.deliver(meta('b', 'STARTED'))
  await settled()
  expect(seen.at(-1)).toBe('b STARTED')
  expect(seen).toHaveLength(4)
  waits.deliver(meta('a'))
  waits.deliver(meta('b'))
  await ended
})

test('a read that does not answer keeps no wait from its signal', async () => {
  const { ended, stop } = waitFor(['a'])
  await settled()
  stop.abort(new Error('too long'))
  await expect(ended).rejects.toThrow('too long')
})

test('a read that fails ends the waits that asked for it', async () => {
  const { ended, read } = waitFor(['a'])
  read.reject(new Error('no answer'))
  await expect(ended).rejects.toThrow('no answer')
})

test('a driver is told which tasks nobody waits for any more', async () => {
  const { ended, waits, calls, watch, read } = waitFor(['a', 'b'])
  const other = watch(['b', 'c'])
  read.resolve(new Map())
  await settled()
  expect(waits.openTasks()).toEqual(['a', 'b', 'c'])
  waits.deliver(meta('a'))
  expect(waits.openTasks()).toEqual(['b', 'c'])
  waits.deliver(meta('b'))
  await ended
  expect(calls).toEqual(['open', 'leave a'])
  waits.deliver(meta('c'))
  await other.ended
  expect(calls).toEqual(['open', 'leave a', 'leave b,c', 'close'])
})
