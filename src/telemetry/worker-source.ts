/** What a worker can be asked about itself, by those who make metrics of it. */
export interface WorkerSource {
  readonly hostname: string
  /** It takes tasks at this moment. */
  readonly isUp: boolean
  /** Tasks that run. */
  readonly active: number
  /** Tasks that it holds and that do not run. */
  readonly reserved: number
  /** Processes (or tasks at the same time, where there are none). */
  readonly poolSize: number
  readonly queues: readonly string[]
  /** Messages that wait; undefined when the broker does not say. Never rejects. */
  queueLength(queue: string): Promise<number | undefined>
  /** For how many seconds its oldest message waits, 0 when none does; undefined when the broker does not say. Never rejects. */
  oldestSeconds(queue: string): Promise<number | undefined>
  /** Whether the queue is paused for this worker. */
  isPaused(queue: string): boolean
  /** As `queueLength`, of the dead letters. */
  deadLetters(): Promise<number | undefined>
}
