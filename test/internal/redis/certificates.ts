/** A certificate authority of the test's own, and what it signs, by openssl. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  readonly cert: string
  readonly key: string
}

export class Authority {
  readonly #folder: string
  readonly #name: string
  /** The path of its certificate. */
  readonly ca: string

  constructor(folder: string, name: string) {
    this.#folder = folder
    this.#name = name
    this.ca = join(folder, `${name}.pem`)
    openssl('req', '-x509', ...newKey, '-keyout', join(folder, `${name}.key`), '-out', this.ca, '-days', '2', '-subj', `/CN=${name}`)
  }

  /** For 127.0.0.1 and localhost, unless the names say something else. `days` below 0: it has expired. */
  sign(name: string, { days = 2, names = 'DNS:localhost,IP:127.0.0.1' } = {}): Certificate {
    const path = (ending: string): string => join(this.#folder, `${this.#name}-${name}.${ending}`)
    const [key, request, extensions, cert] = [path('key'), path('csr'), path('ext'), path('pem')]
    openssl('req', ...newKey, '-keyout', key, '-out', request, '-subj', `/CN=${name}`)
    writeFileSync(extensions, `subjectAltName=${names}\n`)
    const by = ['-CA', this.ca, '-CAkey', join(this.#folder, `${this.#name}.key`), '-CAcreateserial']
    openssl('x509', '-req', '-in', request, ...by, '-out', cert, '-days', String(days), '-extfile', extensions)
    return { cert, key }
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
