/** An app with a broker of its own in this process, its log kept, and workers that are stopped at the end of the test. */
import { randomUUID } from 'node:crypto'
import { type AppOptions, Celeriac, type Worker, type WorkerOptions } from '../dist/index.js'

export interface Line {
  readonly level: string
  readonly fields: unknown
  readonly text: string
}

export class LiveApp implements AsyncDisposable {
  readonly app: Celeriac
  readonly lines: Line[] = []
  readonly #workers: Worker[] = []

  constructor(options: AppOptions = {}) {
    const log =
      (level: string) =>
      (fields: unknown, text?: string): void =>
        void this.lines.push({ level, fields, text: text ?? String(fields) })
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
    this.app = new Celeriac('test', { broker: `memory://${randomUUID()}`, logger, ...options })
  }

  /** Starts a worker in this process. */
  async work(options: WorkerOptions = {}): Promise<Worker> {
    const worker = this.app.worker({ pool: 'async', ...options })
    this.#workers.push(worker)
    return worker.start()
  }

  /** The log lines that hold this text. */
  said(text: string | RegExp): readonly Line[] {
    return this.lines.filter((line) => (typeof text === 'string' ? line.text.includes(text) : text.test(line.text)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) await worker.stop({ mode: 'cold' })
    await this.app.close()
  }
}

/** Waits until `look` gives something else than undefined or false; fails after the deadline. */
export async function until<T>(look: () => T | Promise<T>, deadlineMs = 30_000): Promise<Exclude<T, undefined | false>> {
  const endMs = performance.now() + deadlineMs
  for (;;) {
    const found = await look()
    // Just told apart from the two that mean "not yet".
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>
    if (performance.now() > endMs) throw new Error(`not within ${deadlineMs} ms: ${look}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
