/** The process that sends what is due. */
export interface Beat extends AsyncDisposable {
  run(): Promise<void>
  start(): Promise<this>
  stop(): Promise<void>
}
