/** A store over records, for drivers that change several in one step. */
import type { HeldSlot, LimitStore, Lock, StartAnswer, StartAsk, TakeAnswer } from '../limit-store.js'
import { claim, confirm, type LockEntry, type LockRule, release, take, undo } from './lock-rule.js'
import { free, type Records, renew, start } from './start-rule.js'

const lockKey = (name: string): string => `lock.${name}`
const droppedKey = (taskId: string): string => `dropped.${taskId}`

export abstract class RecordStore implements LimitStore {
  abstract readonly name: string

  /**
   * In one step, alone. `steady` time is for leases of seconds, and no step of a clock moves it, but it may begin anew with the machine; `wall` time is for locks, which outlive that.
   */
  protected abstract change<T>(time: 'steady' | 'wall', work: (records: Records, nowMs: number) => T): Promise<T>
  abstract close(): Promise<void>

  start(asks: readonly StartAsk[]): Promise<readonly StartAnswer[]> {
    return this.change('steady', (records, nowMs) => asks.map((ask) => start(records, ask, nowMs)))
  }

  renew(slots: readonly HeldSlot[], leaseMs: number): Promise<void> {
    return this.change('steady', (records, nowMs) => {
      for (const slot of slots) renew(records, slot, leaseMs, nowMs)
    })
  }

  free(slots: readonly HeldSlot[]): Promise<void> {
    return this.change('steady', (records, nowMs) => {
      for (const slot of slots) free(records, slot, nowMs)
    })
  }

  take(lock: Lock, options: Parameters<LimitStore['take']>[1]): Promise<TakeAnswer> {
    return this.#lock(lock, take(lock, options))
  }

  confirm(lock: Lock, options: Parameters<LimitStore['confirm']>[1]): Promise<readonly string[]> {
    return this.#lock(lock, confirm(lock, options))
  }

  undo(lock: Lock): Promise<void> {
    return this.#lock(lock, undo(lock))
  }

  claim(lock: Lock, options: Parameters<LimitStore['claim']>[1]): Promise<'run' | 'wait' | 'dropped'> {
    return this.#lock(lock, claim(lock, options))
  }

  release(lock: Lock): Promise<void> {
    return this.#lock(lock, release(lock))
  }

  #lock<Answer>({ name }: Lock, rule: LockRule<Answer>): Promise<Answer> {
    return this.change('wall', (records, nowMs) => {
      const text = records.read(lockKey(name))
      // Written here.
      const before = text === undefined ? [] : (JSON.parse(text) as LockEntry[])
      const { entries, drop, answer } = rule({ entries: before, nowMs, isDropped: (id) => records.read(droppedKey(id)) !== undefined })
      for (const id of drop?.ids ?? []) records.write(droppedKey(id), '1', drop?.forMs ?? 0)
      if (entries?.length === 0) records.remove(lockKey(name))
      else if (entries !== undefined)
        records.write(lockKey(name), JSON.stringify(entries), Math.max(...entries.map(({ untilMs }) => untilMs - nowMs)))
      return answer
    })
  }
}
