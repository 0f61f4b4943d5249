/**
 * Celery's serializer `auth` (celery/security/serialization.py): the body as another serializer writes it, signed. In base64, joined by the bytes 00 01:
 *
 *   base64(signer), base64(signature), content type, content encoding, body
 *
 * The signer is the id of a certificate, the signature RSA-PSS over the body's bytes. Headers are not signed, and nothing is encrypted.
 */
import { constants, createPrivateKey, type KeyObject, sign, verify } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ContentDisallowedError, SecurityError } from '../errors.js'
import type { Serializer } from '../serializer.js'
import { Certificate } from './certificate.js'
import type { digests } from './digests.js'

export interface Signing {
  /** Files in PEM form; null: nothing can be signed here. */
  readonly key: string | null
  readonly keyPassword: string | null
  readonly certificate: string | null
  /** A folder whose files are the certificates that are trusted, or one file; null: nothing can be verified here. */
  readonly certStore: string | null
  readonly digest: (typeof digests)[number]
  /** What the body is written with, inside. */
  readonly inner: Serializer
  /** What is read, inside. */
  readonly accepted: readonly Serializer[]
  /** ms since the epoch. */
  readonly now: () => number
}

const separator = Buffer.from([0, 1])
const fieldCount = 5

/** Throws (rejects with) SecurityError for files that cannot be used, and for certificates of the store that have expired, as Celery does. */
export async function loadSigned({ inner, accepted, now, ...signing }: Signing): Promise<Serializer> {
  const algorithm = signing.digest.replace('_', '-')
  const signer = await loadSigner(signing)
  const store = signing.certStore === null ? undefined : await loadStore(signing.certStore, now())
  if (signer === undefined && store === undefined)
    throw new SecurityError(
      'the serializer auth needs securityKey and securityCertificate to sign messages, and securityCertStore to verify them: none is set',
    )
  return {
    name: 'auth',
    contentType: signedContentType,
    contentEncoding: 'utf-8',
    encode(value, root) {
      if (signer === undefined)
        throw new SecurityError(
          'a message that is to be signed needs the options securityKey and securityCertificate: they are not set here',
        )
      const body = Buffer.from(inner.encode(value, root))
      const signature = sign(algorithm, body, { ...pss, key: signer.key, saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN })
      return pack([base64(signer.certificate.id), base64(signature), inner.contentType, inner.contentEncoding, body])
    },
    decode(data) {
      if (store === undefined)
        throw new SecurityError('a signed message can be verified by the certificates of the option securityCertStore: it is not set here')
      const { signerId, signature, contentType, body } = unpack(data)
      const certificate = store.get(signerId)
      if (certificate === undefined)
        throw new SecurityError(`the message is signed by ${show(signerId)}, and securityCertStore has no certificate of that name`)
      if (certificate.hasExpired(now()))
        throw new SecurityError(`the message is signed by ${show(signerId)}, whose certificate expired at ${certificate.validTo}`)
      if (!isSignedBy(certificate, algorithm, body, signature))
        throw new SecurityError(`the message says that it is signed by ${show(signerId)}, and the signature is not that of its body`)
      // What the type says is not signed: only what was chosen here is read.
      const reader = accepted.find((serializer) => serializer.contentType === contentType)
      if (reader === undefined)
        throw new ContentDisallowedError(
          contentType,
          accepted.map((serializer) => serializer.contentType),
          'securityAcceptContent',
        )
      return reader.decode(body)
    },
  }
}

/** The content type of what is signed; kombu uses it for raw bytes, too, which no task message has. */
const signedContentType = 'application/data'

const pss = { padding: constants.RSA_PKCS1_PSS_PADDING } as const

/** A key that is too small for the digest cannot have made it: that is a wrong signature as well. */
function isSignedBy({ publicKey }: Certificate, algorithm: string, body: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(algorithm, body, { ...pss, key: publicKey, saltLength: constants.RSA_PSS_SALTLEN_AUTO }, signature)
  } catch {
    return false
  }
}

// ── the form ──

function pack(fields: readonly (string | Uint8Array)[]): string {
  const parts = fields.flatMap((field, index) => (index === 0 ? [Buffer.from(field)] : [separator, Buffer.from(field)]))
  return Buffer.concat(parts).toString('base64')
}

interface Unpacked {
  readonly signerId: string
  readonly signature: Buffer
  readonly contentType: string
  readonly body: Buffer
}

function unpack(data: string | Uint8Array): Unpacked {
  const text = typeof data === 'string' ? data : Buffer.from(data).toString('latin1')
  const raw = Buffer.from(text, 'base64')
  const fields: Buffer[] = []
  let at = 0
  // The body comes last, and may hold the separator.
  while (fields.length < fieldCount - 1) {
    const end = raw.indexOf(separator, at)
    if (end < 0) throw new SecurityError('the message is not signed: its body is not of the form that the serializer auth writes')
    fields.push(raw.subarray(at, end))
    at = end + separator.length
  }
  const [signer = raw, signature = raw, contentType = raw] = fields
  return {
    signerId: Buffer.from(signer.toString('latin1'), 'base64').toString('utf8'),
    signature: Buffer.from(signature.toString('latin1'), 'base64'),
    contentType: contentType.toString('latin1'),
    body: raw.subarray(at),
  }
}

const base64 = (value: string | Uint8Array): string => Buffer.from(value).toString('base64')

/** It comes from the wire. */
const show = (text: string): string => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)

// ── the files ──

async function loadSigner({
  key: keyFile,
  keyPassword,
  certificate: certificateFile,
}: Pick<Signing, 'key' | 'keyPassword' | 'certificate'>): Promise<
  { readonly key: KeyObject; readonly certificate: Certificate } | undefined
> {
  if (keyFile === null && certificateFile === null) return undefined
  if (keyFile === null || certificateFile === null)
    throw new SecurityError(
      `${keyFile === null ? 'securityCertificate' : 'securityKey'} is set without ${keyFile === null ? 'securityKey' : 'securityCertificate'}: signing needs both`,
    )
  const certificate = new Certificate(await read('securityCertificate', certificateFile), certificateFile)
  const pem = await read('securityKey', keyFile)
  let key: KeyObject
  try {
    key = createPrivateKey({ key: pem, ...(keyPassword === null ? {} : { passphrase: keyPassword }) })
  } catch (cause) {
    throw new SecurityError(`securityKey: ${keyFile} is not a private key in PEM form, or securityKeyPassword is not its password`, {
      cause,
    })
  }
  if (key.asymmetricKeyType !== 'rsa')
    throw new SecurityError(`securityKey: ${keyFile} is a key of type ${key.asymmetricKeyType}; Celery signs with RSA keys only`)
  // A signature that no receiver could verify would be found by all of them, and by nobody here.
  if (!isPair(key, certificate.publicKey))
    throw new SecurityError(`securityCertificate: ${certificateFile} is not the certificate of the key ${keyFile}`)
  return { key, certificate }
}

function isPair(key: KeyObject, publicKey: KeyObject): boolean {
  const challenge = Buffer.from('celeriac')
  return verify('sha256', challenge, publicKey, sign('sha256', challenge, key))
}

/** Every file of the folder, as Celery has it: one that is no certificate, or has expired, is an error and not left out in silence. */
async function loadStore(path: string, nowMs: number): Promise<ReadonlyMap<string, Certificate>> {
  const store = new Map<string, Certificate>()
  for (const file of await filesOf(path)) {
    const certificate = new Certificate(await read('securityCertStore', file), file)
    if (certificate.hasExpired(nowMs))
      throw new SecurityError(`securityCertStore: the certificate of ${file} expired at ${certificate.validTo}. Put a new one in its place`)
    if (store.has(certificate.id))
      throw new SecurityError(`securityCertStore: ${file} is a second certificate with the name ${show(certificate.id)}`)
    store.set(certificate.id, certificate)
  }
  if (store.size === 0) throw new SecurityError(`securityCertStore: ${path} has no certificates in it: every message would be refused`)
  return store
}

async function filesOf(path: string): Promise<readonly string[]> {
  // Celery's spelling of a folder: `/etc/ssl/certs/*.pem`.
  const [, folder = path, suffix = ''] = /^(.*)[\\/]\*([^*?\\/]*)$/.exec(path) ?? []
  try {
    if (!(await stat(folder)).isDirectory()) return [folder]
    const entries = await readdir(folder, { withFileTypes: true })
    const names = entries.filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => name)
    return names
      .filter((name) => name.endsWith(suffix))
      .sort()
      .map((name) => join(folder, name))
  } catch (cause) {
    throw new SecurityError(`securityCertStore: ${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

async function read(option: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    throw new SecurityError(`${option}: ${file} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}
