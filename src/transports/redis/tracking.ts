/** News of lists that were read and found empty: the server's client tracking (Redis 6), told to another link. */
import { integerOf, type RedisLink, RedisReplyError } from '../../internal/redis/link.js'

const invalidations = '__redis__:invalidate'

/**
 * From here on `onNews` is called when somebody else changes what was read on `commands`, with the keys (undefined is any); what that link does itself its owner
 * knows. Gives why the server refuses, if it does.
 */
export async function trackWith(
  commands: RedisLink,
  listening: RedisLink,
  onNews: (keys: readonly string[] | undefined) => void,
): Promise<string | undefined> {
  try {
    const id = integerOf(await listening.call('CLIENT', ['ID']))
    await listening.subscribe([invalidations], (_, payload: unknown) => onNews(Array.isArray(payload) ? payload.map(String) : undefined))
    await commands.call('CLIENT', ['TRACKING', 'ON', 'REDIRECT', id, 'NOLOOP'])
    return undefined
  } catch (error) {
    if (!(error instanceof RedisReplyError)) throw error
    return error.message
  }
}
