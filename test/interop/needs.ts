import { needs } from '../../scripts/needs.mjs'
import { withoutPython } from '../python.js'
import { withoutRabbit } from '../rabbit.js'
import type { Broker } from './fleet.js'

/** Why these tests cannot run here, false when they can. In CI they must run: there a missing Python or Redis is an error. */
function withoutPeers(): string | false {
  const python = withoutPython()
  if (python !== false) return python
  if (needs.redis?.find() !== undefined) return false
  const reason = 'there is no redis-server: run node scripts/install.mjs --test'
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(reason)
  return reason
}

/** For `describe.skipIf(skipped)`. */
export const skipped = withoutPeers()

/** Why tests on this broker cannot run here, false when they can. */
export const skippedOn = (broker: Broker): string | false => skipped || (broker === 'redis' ? false : withoutRabbit())

/** The name of a file's tests, with the reason when they are skipped. */
export function title(name: string, broker: Broker = 'redis'): string {
  const reason = skippedOn(broker)
  const where = { redis: '', classic: ' on RabbitMQ', quorum: ' on quorum queues' }[broker]
  return `${name}${where}${reason === false ? '' : ` (skipped: ${reason})`}`
}
