/** Keys and X.509 certificates for tests, made by Node alone: DER by hand, signed by the key itself. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const der = (tag: number, ...contents: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(contents)
  const length =
    content.length < 0x80
      ? Buffer.from([content.length])
      : content.length < 0x100
        ? Buffer.from([0x81, content.length])
        : Buffer.from([0x82, content.length >> 8, content.length & 0xff])
  return Buffer.concat([Buffer.from([tag]), length, content])
}
const sequence = (...contents: readonly Uint8Array[]): Buffer => der(0x30, ...contents)
const integer = (value: bigint): Buffer => {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return der(0x02, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}
const time = (at: Date): Buffer => der(0x18, Buffer.from(`${at.toISOString().replaceAll(/[-:T]|\.\d+/g, '')}`))
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))

/** Country, organisation, common name: their object identifiers. */
const attributes = { C: '550406', O: '55040a', CN: '550403' } as const
export type NamePart = readonly [keyof typeof attributes, string] | readonly [keyof typeof attributes, string, 'bmp' | 'printable']

const name = (parts: readonly NamePart[]): Buffer =>
  sequence(
    ...parts.map(([attribute, text, kind]) =>
      der(
        0x31,
        sequence(
          oid(attributes[attribute]),
          kind === 'bmp' ? der(0x1e, Buffer.from(text, 'utf16le').swap16()) : der(kind === 'printable' ? 0x13 : 0x0c, Buffer.from(text)),
        ),
      ),
    ),
  )

export interface CertificateWish {
  readonly issuer?: readonly NamePart[]
  readonly serial?: bigint
  readonly validTo?: Date
  /** Default: a new RSA key of 2048 bits. */
  readonly keys?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }
}

export interface Identity {
  readonly key: string
  readonly certificate: string
  /** As Celery names the certificate. */
  readonly id: string
  readonly keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }
}

const sha256WithRsa = sequence(oid('2a864886f70d01010b'), der(0x05))

export function newIdentity({
  issuer = [
    ['O', 'Acme'],
    ['CN', 'node1'],
  ],
  serial = 0xfedcba9876543210fedcn,
  validTo = new Date('2049-12-31T00:00:00Z'),
  keys = generateKeyPairSync('rsa', { modulusLength: 2048 }),
}: CertificateWish = {}): Identity {
  const body = sequence(
    der(0xa0, integer(2n)),
    integer(serial),
    sha256WithRsa,
    name(issuer),
    sequence(time(new Date('2020-01-01T00:00:00Z')), time(validTo)),
    name([['CN', 'subject']]),
    keys.publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signer =
    keys.privateKey.asymmetricKeyType === 'rsa' ? keys.privateKey : generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const certificate = sequence(body, sha256WithRsa, der(0x03, Buffer.from([0]), sign('sha256', body, signer)))
  return {
    key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64').replaceAll(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    id: `${issuer.map(([, text]) => text).join(' ')} ${serial}`,
    keys,
  }
}

/** Keys and a store of certificates as files, removed with it. */
export class KeyFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'celeriac-keys-'))
  readonly store = join(this.path, 'store')

  constructor(trusted: Readonly<Record<string, Identity>> = {}) {
    mkdirSync(this.store)
    for (const [file, identity] of Object.entries(trusted)) this.trust(file, identity)
  }

  trust(file: string, { certificate }: Identity): void {
    writeFileSync(join(this.store, `${file}.pem`), certificate)
  }

  /** What a signer needs, by Celery's option names. */
  signer(
    file: string,
    { key, certificate }: Pick<Identity, 'key' | 'certificate'>,
  ): { readonly securityKey: string; readonly securityCertificate: string } {
    return { securityKey: this.file(`${file}.key`, key), securityCertificate: this.file(`${file}.pem`, certificate) }
  }

  file(name: string, text: string): string {
    const path = join(this.path, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
