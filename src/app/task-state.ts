import type { Outcome } from '../pool.js'

/** How a run ended, in Celery's names of states: IGNORED and REJECTED are among them, though nothing is stored then. */
export function stateOf(outcome: Outcome): string {
  switch (outcome.status) {
    case 'success':
      return 'SUCCESS'
    case 'failure':
    case 'undecodable':
    case 'killed':
      return 'FAILURE'
    case 'retry':
      return 'RETRY'
    case 'revoked':
      return 'REVOKED'
    case 'ignored':
    case 'replaced':
      return 'IGNORED'
    case 'rejected':
      return 'REJECTED'
    default:
      return outcome satisfies never
  }
}
