/**
 * Ends this process with exit code 70 when its event loop is blocked for too long while tasks run: a worker that is deaf for ever looks alive to its
 * broker, and holds its messages.
 *
 * The main thread counts up a shared number as long as its event loop turns, and notes the ids of the running tasks in shared memory. A thread looks
 * at the number. It cannot end the process with an exit code by itself; so it attaches the inspector to the main thread, which interrupts running
 * code, and has it exit. Code that cannot be interrupted (a native call) is ended by SIGKILL a second later.
 */
import { Worker } from 'node:worker_threads'

const slotBytes = 64
/** Tasks over it are watched, but not named. */
const slots = 256
const beat = 0
const running = 1
const firstSlot = 8

export class BlockWatchdog {
  readonly #maxBlockMs: number
  readonly #memory = new SharedArrayBuffer(firstSlot + slots * slotBytes)
  readonly #numbers = new Int32Array(this.#memory, 0, 2)
  readonly #ids = Buffer.from(this.#memory, firstSlot)
  readonly #free = Array.from({ length: slots }, (_, index) => slots - 1 - index)
  #thread: Worker | undefined
  #heart: NodeJS.Timeout | undefined

  constructor(maxBlockMs: number) {
    this.#maxBlockMs = maxBlockMs
  }

  /** A task starts. The first one starts the thread, which costs about 9 MB. Returns what `leave` wants. */
  enter(taskId: string): number {
    if (this.#thread === undefined) this.#start()
    Atomics.add(this.#numbers, running, 1)
    const slot = this.#free.pop() ?? -1
    if (slot >= 0) this.#ids[slot * slotBytes] = this.#ids.write(taskId, slot * slotBytes + 1, slotBytes - 1, 'latin1')
    return slot
  }

  leave(slot: number): void {
    Atomics.sub(this.#numbers, running, 1)
    if (slot < 0) return
    this.#ids[slot * slotBytes] = 0
    this.#free.push(slot)
  }

  async stop(): Promise<void> {
    clearInterval(this.#heart)
    await this.#thread?.terminate()
  }

  #start(): void {
    const tickMs = Math.max(1, Math.floor(this.#maxBlockMs / 20))
    this.#heart = setInterval(() => Atomics.add(this.#numbers, beat, 1), tickMs).unref()
    this.#thread = new Worker(watch, {
      eval: true,
      env: {},
      workerData: { memory: this.#memory, maxBlockMs: this.#maxBlockMs, tickMs, slotBytes, slots, firstSlot },
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
    })
    this.#thread.unref()
  }
}

// Runs as text, so that the thread loads nothing. Time is counted in its own ticks, none longer than two: a machine that slept is no blocked loop.
const watch = `
  const { workerData } = require('node:worker_threads')
  const { writeSync } = require('node:fs')
  const { memory, maxBlockMs, tickMs, slotBytes, slots, firstSlot } = workerData
  const numbers = new Int32Array(memory, 0, 2)
  const ids = Buffer.from(memory, firstSlot)
  let last = -1
  let blockedMs = 0
  let lookedAt = performance.now()
  const look = setInterval(() => {
    const now = performance.now()
    const beat = Atomics.load(numbers, 0)
    if (beat !== last || Atomics.load(numbers, 1) === 0) blockedMs = 0
    else blockedMs += Math.min(now - lookedAt, 2 * tickMs)
    last = beat
    lookedAt = now
    if (blockedMs < maxBlockMs) return
    clearInterval(look)
    const names = []
    for (let slot = 0; slot < slots; slot++) {
      const length = ids[slot * slotBytes]
      if (length > 0) names.push(ids.toString('latin1', slot * slotBytes + 1, slot * slotBytes + 1 + length))
    }
    writeSync(2, 'the event loop was blocked for ' + Math.round(blockedMs) + ' ms; this process ends now. Running tasks: ' + names.join(', ') + '\\n')
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1000)
    const { Session } = require('node:inspector')
    const session = new Session()
    session.connectToMainThread()
    session.post('Runtime.evaluate', { expression: 'process.reallyExit(70)' })
  }, tickMs)
`
