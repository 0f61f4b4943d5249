import { loadavg, type } from 'node:os'
import type { Clock, Timer } from '../internal/clock.js'
import { packageVersion } from '../internal/package-version.js'
import type { EventDispatcher } from './dispatcher.js'

export interface HeartParts {
  readonly clock: Clock
  readonly dispatcher: EventDispatcher
  readonly intervalMs: number
  /** How many tasks run now, and how many were started in all. */
  readonly counts: () => { readonly active: number; readonly processed: number }
  /** After each heartbeat. Must not throw. */
  readonly onBeat?: () => void
}

/** What a worker says of its software in each of its events. */
export function softwareInfo(): { readonly sw_ident: string; readonly sw_ver: string; readonly sw_sys: string } {
  return { sw_ident: 'celeriac', sw_ver: packageVersion(), sw_sys: type() }
}

/** Tells monitors and other workers that this worker is there, each interval. Who hears nothing for two of them takes it for lost. */
export class Heart {
  readonly #parts: HeartParts
  readonly #software = softwareInfo()
  #timer: Timer | undefined
  #isBeating = false

  constructor(parts: HeartParts) {
    this.#parts = parts
  }

  start(): void {
    if (this.#isBeating) return
    this.#isBeating = true
    this.#send('worker-online')
    this.#arm()
  }

  /** Out of turn, for a monitor that has just come: `freq` 5 as Celery sends it. */
  beat(): void {
    this.#parts.dispatcher.send('worker-heartbeat', { freq: 5, ...this.#counts(), ...this.#software })
  }

  /** Settles when the farewell is sent. Safe twice. */
  async stop(): Promise<void> {
    if (!this.#isBeating) return
    this.#isBeating = false
    this.#timer?.cancel()
    this.#send('worker-offline')
    await this.#parts.dispatcher.flush()
  }

  #arm(): void {
    this.#timer = this.#parts.clock.setTimer(this.#parts.intervalMs, () => {
      this.#send('worker-heartbeat')
      this.#parts.onBeat?.()
      this.#arm()
    })
  }

  #send(event: string): void {
    this.#parts.dispatcher.send(event, { freq: this.#parts.intervalMs / 1000, ...this.#counts(), ...this.#software })
  }

  #counts(): { readonly active: number; readonly processed: number; readonly loadavg: readonly number[] } {
    return { ...this.#parts.counts(), loadavg: loadavg().map((load) => Math.round(load * 100) / 100) }
  }
}
