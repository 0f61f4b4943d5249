/** Why a connection could not be opened, in words that say what to do. */
import { tlsFailure } from '../tls-failure.js'
import { RedisReplyError } from './link.js'

/** The library's error, in clearer words where it has none; what the server said stays as it is. */
export function explainConnectError(
  error: unknown,
  { isEncrypted, connectTimeoutMs }: { isEncrypted: boolean; connectTimeoutMs: number },
): Error {
  const given = error instanceof Error ? error : new Error(String(error))
  if (given instanceof RedisReplyError) return given
  const words = reason(given, isEncrypted, connectTimeoutMs)
  return words === undefined ? given : new Error(words, { cause: given })
}

function reason(error: Error, isEncrypted: boolean, connectTimeoutMs: number): string | undefined {
  const code: unknown = Reflect.get(error, 'code')
  const { message } = error
  const tls = tlsFailure(error, 'A rediss: URL needs the TLS port')
  if (tls !== undefined) return tls
  if (code === 'ETIMEDOUT' || error.constructor.name === 'ConnectionTimeoutError') {
    const what = isEncrypted ? 'an encrypted connection' : 'a connection'
    return `the server did not take ${what} within ${connectTimeoutMs / 1000} s${isEncrypted ? ': does it speak TLS at this port?' : ''}`
  }
  if (code === 'ECONNRESET' || /closed/i.test(message)) {
    return isEncrypted
      ? `the server closed the connection while TLS was set up (${message}): does it speak TLS at this port?`
      : `the server closed the connection before it answered (${message}): is this its TLS port, or has it too many clients?`
  }
  if (/protocol error|unknown RESP type|cannot parse/i.test(message))
    return `the server's answer is not Redis' protocol${isEncrypted ? '' : ': is this its TLS port, or another service?'}`
  // One address after the other was tried; Node's own message is empty then.
  if (error instanceof AggregateError && message === '')
    return error.errors.map((one) => (one instanceof Error ? one.message : String(one))).join('; ')
  return undefined
}
