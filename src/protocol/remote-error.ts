/** An error as Celery stores it (celery/backends/base.py prepare_exception): the three keys of the wire, and the traceback beside them. */
export interface RemoteErrorData {
  readonly excType: string
  readonly excModule: string | null
  /** The error's arguments: JSON values. */
  readonly excMessage: readonly unknown[]
  readonly traceback: string | null
}
