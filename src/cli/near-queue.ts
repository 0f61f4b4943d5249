import type { AppCore } from '../app/core.js'
import { didYouMean } from '../internal/did-you-mean.js'
import type { Terminal } from './terminal.js'

/** A word to who names queues that the app does not have, and has nearly: they are used all the same, since others may have them. */
export function noteNearQueues(queues: readonly string[], { routes }: Pick<AppCore, 'routes'>, terminal: Terminal): void {
  const known = routes.defaultQueues()
  for (const queue of queues) {
    const near = known.includes(queue) ? undefined : didYouMean(queue, known)
    if (near !== undefined)
      terminal.note(`note: this app has no queue ${queue}; it has ${near}. ${queue} is taken all the same: others may use it.`)
  }
}
