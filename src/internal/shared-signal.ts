import { setMaxListeners } from 'node:events'

/** Any number of calls and waits may share one signal: that is no leak to warn of, since each takes its listener away. */
export function mayBeShared(signal: AbortSignal): void {
  // Those of other libraries need not be Node's, and warn of nothing.
  if (signal instanceof EventTarget) setMaxListeners(0, signal)
}
