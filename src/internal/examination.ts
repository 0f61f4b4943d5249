/** What a server said of itself, for `celeriac doctor`. */
export interface Examination {
  /** `Redis 7.2.4`. */
  readonly server: string
  readonly findings: readonly ServerFinding[]
  /** How far its clock is ahead of ours, ms; undefined: it does not tell the time. */
  readonly clockAheadMs: number | undefined
}

export interface ServerFinding {
  /** What was looked at, in few words: `eviction policy`. */
  readonly about: string
  /** `fault`: tasks get lost, or it does not work at all. `warning`: better were otherwise. */
  readonly level: 'fine' | 'warning' | 'fault' | 'unknown'
  /** What was found. */
  readonly evidence: string
  /** What to do; none where all is well. */
  readonly fix?: string
}
