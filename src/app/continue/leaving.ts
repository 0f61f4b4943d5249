import { celeryError } from './chord-join.js'
import type { Ended } from './ended.js'

/**
 * A task that ended its run itself, by ignore() or reject(): nothing is stored of it. Who waits for it in a chain or a chord is told all the same, because they would
 * wait for ever. As in Celery, its links are not called.
 */
export function leaving(place: Omit<Ended, 'end'>, status: 'ignored' | 'rejected'): Ended {
  const [excType, reason] = status === 'ignored' ? ['Ignore', 'the task was ignored'] : ['Reject', 'the task was rejected']
  return { ...place, embed: { ...place.embed, errbacks: null }, end: { status: 'FAILURE', error: celeryError(excType, reason) } }
}
