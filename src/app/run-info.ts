/** What a pool is told of a message beside its body: plain data that crosses to another process. */
export interface RunInfo {
  readonly id: string
  readonly rootId: string
  readonly parentId: string | null
  readonly retries: number
  readonly queue: string
  readonly redelivered: boolean
  readonly priority: number | null
  readonly headers: Readonly<Record<string, unknown>>
  readonly group: string | null
  /** Left out where there is nothing to say: most tasks are no part of anything. */
  readonly groupIndex?: number | undefined
  readonly replacedTaskNesting?: number | undefined
  readonly stamps?: Readonly<Record<string, unknown>> | undefined
  readonly etaMs?: number | undefined
  readonly expiresMs: number | null
  readonly softTimeLimitMs: number | null
  readonly timeLimitMs: number | null
  readonly worker: string
}
