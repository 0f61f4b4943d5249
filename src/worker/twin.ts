import type { AppCore } from '../app/core.js'

/** Two of one name work as any two workers do: their leases are told apart. But nobody who looks at them, or steers them, can. */
export function warnOfTwin({ log }: AppCore, hostname: string): void {
  log.warn({ hostname }, `another worker is called ${hostname}: give each a name of its own (--hostname), or nobody can tell them apart`)
}
