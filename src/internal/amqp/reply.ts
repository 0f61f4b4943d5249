/** What the server said when it refused: amqplib tells it within a sentence. */
export interface AmqpRefusal {
  /** Of AMQP: 404 is not found, 405 locked, 406 a wrong condition, 403 no access, 320 the server goes, 540 what it cannot do. */
  readonly code: number
  /** The server's own words: `NOT_FOUND - no queue 'q' in vhost '/'`. */
  readonly text: string
}

/** Undefined for errors that are not the server's. */
export function refusalOf(error: unknown): AmqpRefusal | undefined {
  if (!(error instanceof Error)) return undefined
  const found = /(\d{3}) \([A-Z -]+\) with message "([\s\S]*)"$/.exec(error.message)
  return found?.[2] === undefined ? undefined : { code: Number(found[1]), text: found[2] }
}

/** Why a link or channel ended, as a person reads it. */
export function wordsOf(error: Error): string {
  const refusal = refusalOf(error)
  if (refusal !== undefined) return `the server says ${JSON.stringify(refusal.text)}`
  if (error.message === 'Heartbeat timeout') return 'the server was silent for two heartbeats'
  if (error.message === 'Unexpected close') return 'the server closed the network connection'
  return error.message
}
