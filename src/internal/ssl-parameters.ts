/** Python's words in URLs for what node:tls calls otherwise: `?ssl_ca_certs=ca.pem`. */
import type { TlsOptions } from './tls.js'

export const sslParameters = ['ssl_cert_reqs', 'ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile', 'ssl_check_hostname']

/** `option` is what the transport option `tls` says; `expect` throws, with what was expected instead. No URL turns a verification off. */
export function tlsOfParameters(
  given: Readonly<Record<string, string>>,
  option: TlsOptions | undefined,
  expect: (words: string) => Error,
): TlsOptions {
  const { ssl_cert_reqs = 'required', ssl_ca_certs: ca, ssl_certfile: cert, ssl_keyfile: key, ssl_check_hostname = 'true' } = given
  const required = ssl_cert_reqs.toLowerCase().replace(/^cert_/, '')
  if (required === 'none') {
    if (option?.rejectUnauthorized !== false)
      throw expect(
        'the transport option tls: { rejectUnauthorized: false } beside ssl_cert_reqs=none: a URL alone turns no verification off',
      )
    // For a client, Python's "optional" is "required".
  } else if (required !== 'required' && required !== 'optional') throw expect('ssl_cert_reqs=required')
  const checked = /^(true|1|yes)$/i.test(ssl_check_hostname)
  if (!checked && !/^(false|0|no)$/i.test(ssl_check_hostname)) throw expect('ssl_check_hostname=true')
  if (!checked && option?.servername === undefined && option?.rejectUnauthorized !== false)
    throw expect('the transport option tls: { servername } (the name that the certificate has) beside ssl_check_hostname=false')
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) }
}
