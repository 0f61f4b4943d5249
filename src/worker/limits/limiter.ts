import { randomUUID } from 'node:crypto'
import type { AppCore } from '../../app/core.js'
import type { LimitScope } from '../../app/limit-options.js'
import { rateOf, slotsOf } from '../../app/limit-options.js'
import type { TaskDefinition } from '../../app/task.js'
import { NotSupportedError } from '../../errors.js'
import type { Timer } from '../../internal/clock.js'
import type { HeldSlot, LimitStore, Lock, StartAnswer, StartAsk } from '../../limit-store.js'
import { MemoryLimitStore } from '../../limits/memory.js'
import type { ActiveTask } from '../active-task.js'
import { hasEnded } from './held-lock.js'
import type { Pass } from './pass.js'
import { type Rule, rulesOf, stagesOf } from './rules.js'
import type { Rates } from './shared-rate.js'

export type Verdict =
  /** It may run in so many ms. */
  | { readonly status: 'run'; readonly inMs: number }
  | { readonly status: 'wait'; readonly inMs: number; readonly by: 'rate' | 'slots' }
  /** Another task took its place. */
  | { readonly status: 'dropped' }

/** Starts that are due so soon are granted ahead, so that a high rate needs no question for each of them. */
const aheadMs = 100
/** When a task that another is just taking the place of is looked at again. */
const lookAgainMs = 50

const scopes: readonly LimitScope[] = ['worker', 'cluster']

/** What one worker has of its limits, over all its connections: asks for tasks, keeps their slots while they run, and gives them back. */
export class Limiter {
  readonly #core: AppCore
  readonly #rates: Rates
  readonly #owner = randomUUID()
  readonly #local: LimitStore
  /** Null: neither the task nor any queue has limits. */
  readonly #rules = new Map<TaskDefinition, Map<string, readonly Rule[]> | null>()
  readonly #held = new Set<Pass>()
  readonly #busy = new Set<Promise<unknown>>()
  #toFree: (HeldSlot & { readonly scope: LimitScope })[] = []
  #toRelease: Lock[] = []
  #isFreeing = false
  #count = 0
  #renewing: Timer | undefined
  #isTroubled = false
  #saidNoStore = false
  /** Told which slots were given back. */
  readonly onFreed = new Set<(names: ReadonlySet<string>) => void>()
  /** See RateLimits. */
  readonly holdsAll: boolean

  constructor(core: AppCore, rates: Rates, holdsAll: boolean) {
    this.#core = core
    this.#rates = rates
    this.holdsAll = holdsAll
    this.#local = new MemoryLimitStore(undefined, core.clock)
  }

  /** Throws NotSupportedError, in words, when a task or one of the queues has a limit for the cluster and there is no place to keep it. */
  async check(queues: readonly string[]): Promise<void> {
    const { connections, registry, routes } = this.#core
    const limited = [...registry.names().map((name) => registry.get(name)?.options), ...queues.map((queue) => routes.limitsOf(queue))]
    const isShared = limited.some(
      (options) => options !== undefined && (rateOf(options)?.scope === 'cluster' || slotsOf(options)?.scope === 'cluster'),
    )
    if (isShared) await connections.limits()
  }

  /** Undefined for the many tasks that have no limits. */
  passOf(task: ActiveTask): Pass | undefined {
    const { definition, delivery, lock, head } = task
    if (definition === undefined) return undefined
    const rules = this.#rulesOf(definition, delivery.queue)
    if (rules.length === 0 && lock === undefined) return undefined
    const stages = rules.length === 0 ? [] : stagesOf(this.#core, task, rules)
    const holder = `${this.#owner}.${++this.#count}`
    const names = stages.flatMap(({ scope, rates, slots }) => [
      ...rates().map(({ name }) => `${scope} rate ${name}`),
      ...slots.map(({ name }) => slotsName(scope, name)),
    ])
    return {
      line: names.length === 0 ? `task ${holder}` : names.join('\n'),
      names,
      stages,
      lock: lock === undefined ? undefined : { name: lock.name, holder: head.id, ttlMs: lock.ttlMs },
      holder,
      slots: [],
      isGranted: false,
    }
  }

  #rulesOf(definition: TaskDefinition, queue: string): readonly Rule[] {
    let byQueue = this.#rules.get(definition)
    if (byQueue === undefined) {
      const { rateLimit, concurrency } = definition.options
      byQueue = rateLimit === undefined && concurrency === undefined && !this.#core.routes.hasLimits ? null : new Map()
      this.#rules.set(definition, byQueue)
    }
    if (byQueue === null) return noRules
    let rules = byQueue.get(queue)
    if (rules === undefined) {
      rules = rulesOf(this.#core, this.#rates, definition, queue)
      byQueue.set(queue, rules)
    }
    return rules
  }

  /** In their order; what is not granted holds nothing. Rejects when a store cannot be asked: then none holds anything. */
  ask(passes: readonly Pass[]): Promise<readonly Verdict[]> {
    return this.#track(
      this.#ask(passes).catch((error: unknown) => {
        for (const pass of passes) this.giveBack(pass)
        throw error
      }),
    )
  }

  async #ask(passes: readonly Pass[]): Promise<readonly Verdict[]> {
    const verdicts: Verdict[] = passes.map(() => ({ status: 'run', inMs: 0 }))
    const refuse = (index: number, pass: Pass, verdict: Verdict): void => {
      verdicts[index] = verdict
      this.giveBack(pass)
    }
    for (const number of [0, 1]) {
      for (const scope of scopes) {
        const asked = [...passes.entries()].filter(
          ([index, pass]) => verdicts[index]?.status === 'run' && pass.stages[number]?.scope === scope,
        )
        if (asked.length === 0) continue
        const store = await this.#store(scope)
        const asks = asked.map(([, pass]) => this.#askOf(pass, number))
        const answers = await store.start(asks)
        for (const [at, [index, pass]] of asked.entries()) {
          const answer = answers[at]
          if (answer?.status !== 'granted') refuse(index, pass, answer === undefined ? aMoment : patiently(answer, asks[at]))
          else {
            this.#hold(pass, scope, number)
            verdicts[index] = { status: 'run', inMs: answer.inMs }
          }
        }
      }
    }
    await Promise.all(
      [...passes.entries()].map(async ([index, pass]) => {
        if (pass.lock === undefined || verdicts[index]?.status !== 'run') return
        const store = await this.#lockStore()
        const claimed = (await store?.claim(pass.lock, { forMs: pass.lock.ttlMs })) ?? 'run'
        if (claimed === 'wait') refuse(index, pass, aMoment)
        else if (claimed === 'dropped') refuse(index, pass, { status: 'dropped' })
      }),
    )
    this.#isTroubled = false
    return verdicts
  }

  #askOf({ stages, holder, lock }: Pass, number: number): StartAsk {
    const { rates, slots } = stages[number] ?? { rates: () => [], slots: [] }
    const waits = stages.length === 1 && slots.length === 0 && lock === undefined
    return { owner: this.#owner, holder, rates: rates(), slots, aheadMs: waits ? aheadMs : 0, leaseMs: this.#leaseMs }
  }

  #hold(pass: Pass, scope: LimitScope, number: number): void {
    const slots = (pass.stages[number]?.slots ?? []).map(({ name }) => ({ name, holder: pass.holder, scope }))
    if (slots.length === 0) return
    pass.slots = [...pass.slots, ...slots]
    this.#held.add(pass)
    this.#renewing ??= this.#renewLater()
  }

  /** The task is out of this worker's hands: its slots go back, and its lock, if it has ended. */
  end({ pass, lock, head }: ActiveTask): void {
    if (pass !== undefined) this.giveBack(pass)
    if (lock === undefined || !hasEnded(lock)) return
    this.#toRelease.push({ name: lock.name, holder: head.id })
    this.#freeSoon()
  }

  giveBack(pass: Pass): void {
    if (pass.slots.length === 0) return
    this.#toFree.push(...pass.slots)
    pass.slots = []
    this.#held.delete(pass)
    this.#freeSoon()
  }

  /** Why the stores cannot be asked, once until they can. */
  tellTrouble(error: unknown): void {
    if (!this.#isTroubled) this.#core.log.error({ err: error }, 'the store of limits cannot be asked; tasks with limits wait until it can')
    this.#isTroubled = true
  }

  /** Gives back what is still held, and settles when that is done. */
  async close(): Promise<void> {
    this.onFreed.clear()
    while (this.#busy.size > 0) await Promise.allSettled([...this.#busy])
    for (const pass of [...this.#held]) this.giveBack(pass)
    this.#renewing?.cancel()
    while (this.#busy.size > 0) await Promise.allSettled([...this.#busy])
    await this.#local.close()
  }

  get #leaseMs(): number {
    return this.#core.config.limitLease * 1000
  }

  #store(scope: LimitScope): Promise<LimitStore> | LimitStore {
    return scope === 'worker' ? this.#local : this.#core.connections.limits()
  }

  /** Undefined: this worker has no store, though the sender had one. Locks end by their time then. */
  async #lockStore(): Promise<LimitStore | undefined> {
    try {
      return await this.#core.connections.limits()
    } catch (error) {
      if (!(error instanceof NotSupportedError)) throw error
      if (!this.#saidNoStore)
        this.#core.log.warn(
          { err: error },
          'unique tasks come here whose locks this worker cannot reach: set limitStore to that of their senders',
        )
      this.#saidNoStore = true
      return undefined
    }
  }

  #freeSoon(): void {
    if (this.#isFreeing) return
    this.#isFreeing = true
    void this.#track(Promise.resolve().then(() => this.#free()))
  }

  /** What cannot be given back ends by itself: slots with their lease, locks with their time. */
  async #free(): Promise<void> {
    this.#isFreeing = false
    const [slots, locks] = [this.#toFree, this.#toRelease]
    this.#toFree = []
    this.#toRelease = []
    try {
      for (const scope of scopes) {
        const own = slots.filter((slot) => slot.scope === scope)
        if (own.length > 0) await (await this.#store(scope)).free(own)
      }
      if (locks.length > 0) {
        const store = await this.#lockStore()
        await Promise.all(locks.map((lock) => store?.release(lock)))
      }
    } catch (error) {
      this.#core.log.warn({ err: error }, 'limits could not be given back; they end by themselves')
    }
    if (slots.length === 0) return
    const names = new Set(slots.map(({ scope, name }) => slotsName(scope, name)))
    for (const listener of [...this.onFreed]) listener(names)
  }

  #renewLater(): Timer {
    return this.#core.clock.setTimer(this.#leaseMs / 3, () => {
      this.#renewing = undefined
      if (this.#held.size > 0) void this.#track(this.#renew())
    })
  }

  async #renew(): Promise<void> {
    this.#renewing = this.#renewLater()
    const slots = [...this.#held].flatMap((pass) => pass.slots)
    try {
      for (const scope of scopes) {
        const own = slots.filter((slot) => slot.scope === scope)
        if (own.length === 0) continue
        const store = await this.#store(scope)
        await store.renew(own, this.#leaseMs)
        // What ended meanwhile was given back before it was renewed, perhaps.
        const running = new Set([...this.#held].map(({ holder }) => holder))
        const over = own.filter(({ holder }) => !running.has(holder))
        if (over.length > 0) await store.free(over)
      }
    } catch (error) {
      this.#core.log.warn({ err: error }, 'the places of running tasks under their concurrency limits could not be renewed; trying again')
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#busy.add(work)
    const done = (): void => void this.#busy.delete(work)
    work.then(done, done)
    return work
  }
}

/** Where starts are granted ahead, half of that time may pass until the next question, which then is one for many. */
function patiently(answer: StartAnswer & { status: 'wait' }, ask: StartAsk | undefined): Verdict {
  return { ...answer, inMs: Math.max(answer.inMs, (ask?.aheadMs ?? 0) / 2) }
}

const aMoment: Verdict = { status: 'wait', inMs: lookAgainMs, by: 'slots' }

function slotsName(scope: LimitScope, name: string): string {
  return `${scope} slots ${name}`
}

const noRules: readonly Rule[] = []
