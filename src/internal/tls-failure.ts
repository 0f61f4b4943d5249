const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

/** Why TLS could not be set up, in words that say what to do; undefined when the error is about something else. `port` completes "it does not speak TLS here". */
export function tlsFailure(error: Error, port: string): string | undefined {
  const code: unknown = Reflect.get(error, 'code')
  const { message } = error
  if (typeof code !== 'string') return undefined
  if (untrusted.has(code))
    return `the server's certificate is not signed by an authority that is trusted here (${message}): name its CA with ssl_ca_certs or the transport option tls.ca`
  if (code === 'CERT_HAS_EXPIRED') return "the server's certificate has expired"
  if (code === 'CERT_NOT_YET_VALID') return "the server's certificate is not valid yet: compare the clocks"
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the server's certificate is for another name: ${message}`
  if (!/^ERR_SSL_|^EPROTO$/.test(code)) return undefined
  return /wrong[ _]version[ _]number|packet length too long|record layer/i.test(message)
    ? `the server does not speak TLS at this port: nothing was sent unencrypted. ${port}`
    : `TLS failed: ${message}`
}
