/** Beats in this process, on a clock that a test moves, with a broker, results and a store in memory. */
import { randomUUID } from 'node:crypto'
import type { AppCore } from '../../dist/app/core.js'
import { openScheduleStore } from '../../dist/beat/stores/index.js'
import { type AppOptions, Celeriac } from '../../dist/index.js'
import type { Clock, Timer } from '../../dist/internal/clock.js'
import type { ScheduleStore } from '../../dist/schedule-store.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { settled } from '../conformance/wait.js'

/** The wall clock can be set, as that of a machine; the monotonic one only goes on. */
export class SettableClock implements Clock {
  readonly #inner: VirtualClock
  #shiftMs = 0

  constructor(startMs: number) {
    this.#inner = new VirtualClock(startMs)
  }

  now(): number {
    return this.#inner.now() + this.#shiftMs
  }

  monotonic(): number {
    return this.#inner.now()
  }

  setTimer(ms: number, callback: () => void): Timer {
    return this.#inner.setTimer(ms, callback)
  }

  /** Sets the wall clock forwards or back. */
  step(ms: number): void {
    this.#shiftMs += ms
  }

  async pass(ms: number): Promise<void> {
    const untilMs = this.#inner.now() + ms
    while (this.#inner.now() < untilMs) {
      await this.#inner.moveTo(Math.min(untilMs, this.#inner.now() + 500))
      await settled()
    }
  }
}

// What is loaded when it is first used takes time that a virtual clock does not know of: it is loaded before.
for (const backend of ['memory://warm', 'disabled']) {
  const app = new Celeriac('warm', { brokerUrl: 'memory://warm', resultBackend: backend, beatStore: 'memory://' })
  await app.schedule.add('warm', { task: 'warm', schedule: 60 })
  await app.schedule.run('warm')
  await app.schedule.remove('warm')
  await (await app.beat().start()).stop()
  await Celeriac.internals(app).core.connections.backend()
  await app.close()
}

export interface Sent {
  readonly entry: string
  readonly task: string
  readonly id: string
  readonly atMs: number
}

export const startMs = Date.UTC(2026, 0, 5, 12, 0, 0)

export class Rig implements AsyncDisposable {
  readonly clock: SettableClock
  readonly sent: Sent[] = []
  readonly log: string[] = []
  readonly #id = randomUUID()
  readonly #apps: Celeriac[] = []

  constructor(start = startMs) {
    this.clock = new SettableClock(start)
  }

  /** One more program on the same broker, results and schedules. */
  app(options: AppOptions = {}): Celeriac {
    const note = (_: unknown, message?: string): void => void this.log.push(message ?? '')
    const app = new Celeriac('shop', {
      brokerUrl: `memory://${this.#id}`,
      resultBackend: `memory://${this.#id}`,
      beatStore: 'memory://',
      beatLease: 9,
      logger: { debug() {}, info: note, warn: note, error: note },
      ...options,
    })
    const { core } = Celeriac.internals(app)
    core.clock = this.clock
    const headers = new Map<string, string>()
    app.on('beforeTaskPublish', (event) => void headers.set(event.id, String(event.headers.periodic_task_name)))
    app.on('afterTaskPublish', ({ id, task }) => void this.sent.push({ entry: headers.get(id) ?? '', task, id, atMs: this.clock.now() }))
    this.#apps.push(app)
    return app
  }

  core(app: Celeriac): AppCore {
    return Celeriac.internals(app).core
  }

  store(): Promise<ScheduleStore> {
    return openScheduleStore('memory://', { app: 'shop', clock: this.clock, log: { debug() {}, info() {}, warn() {}, error() {} } })
  }

  pass(seconds: number): Promise<void> {
    return this.clock.pass(seconds * 1000)
  }

  /** When an entry was sent: seconds since the rig began. */
  times(entry: string): number[] {
    return this.sent.filter((each) => each.entry === entry).map(({ atMs }) => (atMs - startMs) / 1000)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const app of this.#apps) await app.close()
  }
}
