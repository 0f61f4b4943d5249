/** Why a connection could not be opened, in words that say what to do. */
import { RedisReplyError } from './link.js'

const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

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
  if (typeof code === 'string') {
    if (untrusted.has(code))
      return `the server's certificate is not signed by an authority that is trusted here (${message}): name its CA with ssl_ca_certs or the transport option tls.ca`
    if (code === 'CERT_HAS_EXPIRED') return "the server's certificate has expired"
    if (code === 'CERT_NOT_YET_VALID') return "the server's certificate is not valid yet: compare the clocks"
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the server's certificate is for another name: ${message}`
    if (/^ERR_SSL_|^EPROTO$/.test(code)) {
      return /wrong[ _]version[ _]number|packet length too long|record layer/i.test(message)
        ? 'the server does not speak TLS at this port: nothing was sent unencrypted. A rediss: URL needs the TLS port'
        : `TLS failed: ${message}`
    }
  }
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
