import { randomUUID } from 'node:crypto'
import type { ResultTuple, State } from '../protocol/result.js'
import type { AsyncResult, EndedMember, EnqueuedGroup, GroupResult } from './handles.js'
import type { SignatureSender } from './signature.js'

/** The handle of a group without members: nothing was sent, and all of it has succeeded. */
class EmptyGroup implements GroupResult<readonly []> {
  readonly id = randomUUID()
  readonly parent = null
  readonly results = []

  async get(): Promise<readonly []> {
    return []
  }

  join(): Promise<readonly []> {
    return this.get()
  }

  async state(): Promise<State> {
    return 'SUCCESS'
  }

  async ready(): Promise<boolean> {
    return true
  }

  async waiting(): Promise<boolean> {
    return false
  }

  async successful(): Promise<boolean> {
    return true
  }

  async failed(): Promise<boolean> {
    return false
  }

  async completedCount(): Promise<number> {
    return 0
  }

  async info(): Promise<unknown> {
    return { current: 0, total: 0 }
  }

  async traceback(): Promise<null> {
    return null
  }

  async details(): Promise<null> {
    return null
  }

  async children(): Promise<AsyncResult<unknown>[]> {
    return []
  }

  async *collect(): AsyncGenerator<readonly [AsyncResult<unknown>, unknown], void, undefined> {
    yield [this, []]
  }

  asTuple(): ResultTuple {
    return [[this.id, null], []]
  }

  async exists(): Promise<boolean> {
    return true
  }

  async *iterate(): AsyncGenerator<EndedMember, void, undefined> {}

  async *events(): AsyncGenerator<{ state: string; meta: unknown }, void, undefined> {
    yield { state: 'SUCCESS', meta: { current: 0, total: 0 } }
  }

  [Symbol.asyncIterator](): AsyncGenerator<EndedMember, void, undefined> {
    return this.iterate()
  }

  /** There is nothing to revoke, to forget or to save. */
  async revoke(): Promise<void> {}
  async forget(): Promise<void> {}
  async save(): Promise<void> {}
}

/** A group without members has no app that could send it, and needs none. */
export const sendsNothing: SignatureSender = {
  send: () => {
    const result = new EmptyGroup()
    const sent: Promise<GroupResult<unknown>> = Promise.resolve(result)
    return Object.assign(sent, { id: result.id, get: () => result.get() }) satisfies EnqueuedGroup<unknown>
  },
  errbacksOnHeaders: false,
}
