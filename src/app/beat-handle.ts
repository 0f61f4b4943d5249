/** `new` until it is started; `following` while another beat leads. */
export type BeatState = 'new' | 'starting' | 'following' | 'leading' | 'stopped'

export interface BeatOptions {
  /** Where schedules are kept: a kind of store at its usual place, or a URL. Default: `beatStore`. */
  scheduler?: 'sqlite' | 'redis' | 'file' | 'memory' | 'postgres' | (string & {})
  /** Stops the beat when it aborts. */
  signal?: AbortSignal
}

/** The process that sends what is due. Any number may run: one leads, the others wait for its end. */
export interface Beat extends AsyncDisposable {
  readonly state: BeatState
  /** Whether it sends what is due at this moment. */
  readonly isLeading: boolean
  /** Starts, and settles when the beat has stopped. SIGTERM and SIGINT stop it. */
  run(): Promise<void>
  /** Settles when the beat leads or follows. Rejects for entries that are wrong; a store that is away is waited for, unless `brokerConnectionRetryOnStartup` is false. */
  start(): Promise<this>
  /** Lets another beat lead at once. Always ends. Safe twice, and during start. */
  stop(): Promise<void>
}
