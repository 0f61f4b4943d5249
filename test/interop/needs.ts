import { needs } from '../../scripts/needs.mjs'
import { withoutPython } from '../python.js'

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

/** The name of a file's tests, with the reason when they are skipped. */
export const title = (name: string): string => (skipped === false ? name : `${name} (skipped: ${skipped})`)
