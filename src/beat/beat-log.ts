/** The words of beat, in one place. Celery's where it has some. */
import type { Logger } from '../internal/logger.js'

export class BeatLog {
  readonly #log: () => Logger

  constructor(log: () => Logger) {
    this.#log = log
  }

  leads(owner: string, token: number, entries: number): void {
    this.#log().info({ owner, token, entries }, `beat: leading with ${entries} entries.`)
  }

  follows(owner: string): void {
    this.#log().info({ leader: owner }, `beat: following ${owner}.`)
  }

  deposed(): void {
    this.#log().warn({}, 'beat: another beat leads now')
  }

  sending(entry: string, task: string, taskId: string, dueMs: number): void {
    this.#log().info({ entry, task, id: taskId, due: new Date(dueMs).toISOString() }, `Scheduler: Sending due task ${entry} (${task})`)
  }

  skipped(entry: string, dueMs: number, why: string): void {
    this.#log().warn({ entry, due: new Date(dueMs).toISOString() }, `beat: ${entry} was left out: ${why}`)
  }

  failed(entry: string, error: Error): void {
    this.#log().error({ entry, err: error }, `beat: ${entry} could not be sent: ${error.message}`)
  }

  later(entry: string, error: Error, waitMs: number): void {
    this.#log().error({ entry, err: error }, `beat: ${entry} is sent again in ${waitMs / 1000} s: ${error.message}`)
  }

  clockStepped(stepMs: number): void {
    this.#log().warn({ stepMs }, `beat: the clock was put back by ${Math.round(stepMs / 1000)} s`)
  }

  trouble(error: unknown, what: string): void {
    this.#log().error({ err: error }, `beat: ${what}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
