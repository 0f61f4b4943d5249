import type { ResultBackend } from '../backend.js'
import { MemoryBackend } from '../backends/memory.js'
import { type Clock, systemClock } from '../internal/clock.js'

/** Before the test runner gives up. */
const patienceMs = 2_000

/** Results of an app under test. Who waits for one while nothing runs is told so: otherwise nothing would say why the test hangs. */
export class ToldBackend extends MemoryBackend {
  readonly #isRunning: () => boolean

  constructor(url: string, { clock, isRunning }: { readonly clock: Clock; readonly isRunning: () => boolean }) {
    super(url, { clock })
    this.#isRunning = isRunning
  }

  override async *wait(...[taskIds, options]: Parameters<ResultBackend['wait']>): ReturnType<MemoryBackend['wait']> {
    const timer = systemClock.setTimer(patienceMs, () => {
      if (!this.#isRunning()) process.stderr.write(`celeriac: ${told(taskIds[0] ?? '')}\n`)
    })
    try {
      yield* super.wait(taskIds, options)
    } finally {
      timer.cancel()
    }
  }
}

function told(taskId: string): string {
  return `somebody waits for task ${taskId}, and under test nothing runs before drain() is called, nor does the clock move. For code that waits for its tasks: testApp(app, { mode: 'eager' })`
}
