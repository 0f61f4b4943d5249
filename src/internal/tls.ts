/** How a server proves who it is: the transport option `tls`, which node:tls is given. Verification is on, and no URL turns it off. */
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { bool, fields, kind, text } from './option-kinds.js'

/** A certificate or key: PEM text or bytes, or the path of its file. */
export type Pem = string | Uint8Array

export interface TlsOptions {
  /** The authorities that are trusted instead of those that Node knows. */
  readonly ca?: Pem | readonly Pem[]
  /** What we prove who we are with, where the server asks for it, and its key. */
  readonly cert?: Pem
  readonly key?: Pem
  readonly passphrase?: string
  /** The name that the server's certificate must have. Default: the host of the URL. */
  readonly servername?: string
  /** False: talk to whoever answers. */
  readonly rejectUnauthorized?: boolean
}

const isPem = (value: unknown): value is Pem => (typeof value === 'string' && value !== '') || value instanceof Uint8Array
const pem = kind<Pem, Pem>('PEM text or bytes, or the path of a file', (value) => (isPem(value) ? value : undefined))
const authorities = kind<Pem | readonly Pem[], Pem | readonly Pem[]>(
  'PEM text or bytes, the path of a file, or a list of these',
  (value) => (isPem(value) || (Array.isArray(value) && value.every(isPem)) ? value : undefined),
)
const what = 'true, or an object with ca, cert, key, passphrase, servername or rejectUnauthorized'

export const tlsOptions = kind<TlsOptions | true, TlsOptions>(what, (value, option) =>
  value === true
    ? {}
    : fields(value, option, what, { ca: authorities, cert: pem, key: pem, passphrase: text, servername: text, rejectUnauthorized: bool }),
)

/** What node:tls takes. Files are read anew for each connection, so that a renewed certificate is found. Rejects with the file that cannot be read. */
export async function readTls(
  { ca, cert, key, ...rest }: TlsOptions,
  host: string | undefined,
): Promise<Readonly<Record<string, unknown>>> {
  return {
    ...(ca === undefined ? {} : { ca: await Promise.all((Array.isArray(ca) ? ca : [ca]).map(read)) }),
    ...(cert === undefined ? {} : { cert: await read(cert) }),
    ...(key === undefined ? {} : { key: await read(key) }),
    // Servers behind one address tell by this name which certificate to show; it must not be an address.
    ...(host === undefined || isIP(host) !== 0 ? {} : { servername: host }),
    ...rest,
  }
}

async function read(given: Pem): Promise<Pem> {
  if (typeof given !== 'string' || given.includes('-----BEGIN')) return given
  try {
    return await readFile(given)
  } catch (cause) {
    throw new Error(`cannot read the certificate or key file ${given}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}
