/** Limits in Redis: starts by one script for those of a tick, locks by comparing and setting what lock-rule.ts says. */
import type { Clock } from '../internal/clock.js'
import { integerOf, listOf, type RedisTarget, textOf } from '../internal/redis/link.js'
import { StoreLink } from '../internal/redis/store-link.js'
import type { HeldSlot, LimitStore, Lock, StartAnswer, StartAsk, TakeAnswer } from '../limit-store.js'
import { claim, confirm, type LockEntry, type LockRule, release, take, undo } from './lock-rule.js'
import { freeScript, readLockScript, renewScript, startScript, writeLockScript } from './redis-scripts.js'
import { rateKey, slotKey } from './start-rule.js'

/** Asks of one script: others are served in between. */
const asksAtOnce = 100

export class RedisLimitStore implements LimitStore {
  readonly name = 'redis'
  readonly #link: StoreLink
  readonly #prefix: string
  /** Changes of one lock follow each other: those of one process would only contradict each other. */
  readonly #changing = new Map<string, Promise<unknown>>()

  /** Connects when it is first used, and again after a loss. */
  constructor(target: RedisTarget, { clock, keyPrefix }: { readonly clock: Clock; readonly keyPrefix: string }) {
    this.#link = new StoreLink(target, { clock, name: 'celeriac:limits', what: 'the store of limits' })
    this.#prefix = `${keyPrefix}celeriac.limits.`
  }

  async start(asks: readonly StartAsk[]): Promise<readonly StartAnswer[]> {
    const answers: StartAnswer[] = []
    for (let from = 0; from < asks.length; from += asksAtOnce) answers.push(...(await this.#start(asks.slice(from, from + asksAtOnce))))
    return answers
  }

  async #start(asks: readonly StartAsk[]): Promise<readonly StartAnswer[]> {
    const keys: string[] = []
    const numbers = new Map<string, number>()
    const numberOf = (name: string): number => {
      const number = numbers.get(name) ?? keys.push(this.#prefix + name)
      numbers.set(name, number)
      return number
    }
    const given = asks.map(({ owner, holder, rates, slots, aheadMs, leaseMs }) => ({
      owner,
      holder,
      rates: rates.map(({ name, intervalMs }) => [numberOf(rateKey(name)), intervalMs]),
      slots: slots.map(({ name, limit }) => [numberOf(slotKey(name)), limit]),
      ahead: aheadMs,
      lease: leaseMs,
    }))
    const reply = listOf(await this.#link.run((link) => startScript.run(link, keys, [JSON.stringify(given)])))
    return asks.map((_, index) => {
      const status = integerOf(reply[2 * index])
      const inMs = Number(textOf(reply[2 * index + 1]))
      return status === 1 ? { status: 'granted', inMs } : { status: 'wait', inMs, by: status === 0 ? 'rate' : 'slots' }
    })
  }

  async renew(slots: readonly HeldSlot[], leaseMs: number): Promise<void> {
    if (slots.length === 0) return
    await this.#link.run((link) => renewScript.run(link, this.#slotKeys(slots), [leaseMs, ...slots.map(({ holder }) => holder)]))
  }

  async free(slots: readonly HeldSlot[]): Promise<void> {
    if (slots.length === 0) return
    await this.#link.run((link) =>
      freeScript.run(
        link,
        this.#slotKeys(slots),
        slots.map(({ holder }) => holder),
      ),
    )
  }

  take(lock: Lock, options: Parameters<LimitStore['take']>[1]): Promise<TakeAnswer> {
    return this.#change(lock, [], take(lock, options))
  }

  confirm(lock: Lock, options: Parameters<LimitStore['confirm']>[1]): Promise<readonly string[]> {
    return this.#change(lock, options.before, confirm(lock, options))
  }

  undo(lock: Lock): Promise<void> {
    return this.#change(lock, [], undo(lock))
  }

  claim(lock: Lock, options: Parameters<LimitStore['claim']>[1]): Promise<'run' | 'wait' | 'dropped'> {
    return this.#change(lock, [lock.holder], claim(lock, options))
  }

  release(lock: Lock): Promise<void> {
    return this.#change(lock, [], release(lock))
  }

  close(): Promise<void> {
    return this.#link.close()
  }

  #slotKeys(slots: readonly HeldSlot[]): string[] {
    return slots.map(({ name }) => this.#prefix + slotKey(name))
  }

  /** `ids`: of whom the rule may ask whether they were dropped. */
  #change<Answer>({ name }: Lock, ids: readonly string[], rule: LockRule<Answer>): Promise<Answer> {
    const before = this.#changing.get(name)
    const changed =
      before === undefined
        ? this.#changeNow(name, ids, rule)
        : // Where one found no server, those behind it do not each wait for it again.
          before.then((error) => (error === undefined ? this.#changeNow(name, ids, rule) : Promise.reject(error)))
    const last = changed.then(
      () => undefined,
      (error: unknown) => error,
    )
    this.#changing.set(name, last)
    void last.then(() => this.#changing.get(name) === last && this.#changing.delete(name))
    return changed
  }

  async #changeNow<Answer>(name: string, ids: readonly string[], rule: LockRule<Answer>): Promise<Answer> {
    const key = `${this.#prefix}lock.${name}`
    const noteOf = (id: string): string => `${this.#prefix}dropped.${id}`
    for (;;) {
      const [time, found, ...notes] = listOf(await this.#link.run((link) => readLockScript.run(link, [key, ...ids.map(noteOf)], [])))
      const text = found === null || found === undefined ? '' : textOf(found)
      const nowMs = Number(textOf(time))
      const dropped = new Set(ids.filter((_, index) => notes[index] === 1))
      // Written below.
      const entriesBefore = text === '' ? [] : (JSON.parse(text) as LockEntry[])
      const { entries, drop, answer } = rule({ entries: entriesBefore, nowMs, isDropped: (id) => dropped.has(id) })
      if (entries === undefined) return answer
      const keys = [key, ...(drop?.ids ?? []).map(noteOf)]
      const forMs = Math.max(1, ...entries.map(({ untilMs }) => untilMs - nowMs))
      const after = entries.length === 0 ? '' : JSON.stringify(entries)
      if (after === text) return answer
      const args = [text, after, Math.ceil(forMs), Math.ceil(drop?.forMs ?? 0)]
      if (integerOf(await this.#link.run((link) => writeLockScript.run(link, keys, args))) === 1) return answer
      // Another process was faster: it is looked at again.
    }
  }
}
