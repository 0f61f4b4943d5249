import { generateKeyPairSync } from 'node:crypto'
import { beforeAll, expect, test } from 'vitest'
import { SecurityError } from '../../dist/errors.js'
import type { Serializer } from '../../dist/serializer.js'
import { json } from '../../dist/serializers/json.js'
import { loadSigned, type Signing } from '../../dist/serializers/signed.js'
import { type Identity, KeyFolder, newIdentity } from '../certificates.js'

let alice: Identity
let mallory: Identity
beforeAll(() => {
  alice = newIdentity({
    serial: 1203540980236390420943580n,
    issuer: [
      ['C', 'DE', 'printable'],
      ['O', 'Acme, "Söhne" \\ Co. + 1'],
      ['CN', 'Ünï', 'bmp'],
    ],
  })
  mallory = newIdentity({ issuer: [['CN', 'mallory']], serial: 1n })
})

const load = (folder: KeyFolder, who: Identity | undefined, more: Partial<Signing> = {}): Promise<Serializer> => {
  const signer = who === undefined ? undefined : folder.signer('signer', who)
  return loadSigned({
    key: signer?.securityKey ?? null,
    keyPassword: null,
    certificate: signer?.securityCertificate ?? null,
    certStore: folder.store,
    digest: 'sha256',
    inner: json,
    accepted: [json],
    now: () => Date.parse('2030-01-01T00:00:00Z'),
    ...more,
  })
}

/** The five fields of a signed text, changed and put together again. */
function changed(text: unknown, change: Readonly<Record<number, string>>): string {
  const raw = Buffer.from(String(text), 'base64').toString('latin1')
  const fields = raw.split('\0\x01')
  const parts = [...fields.slice(0, 4), fields.slice(4).join('\0\x01')].map((field, index) => change[index] ?? field)
  return Buffer.from(parts.join('\0\x01'), 'latin1').toString('base64')
}

const refused = (serializer: Serializer, data: string | Uint8Array): string => {
  try {
    serializer.decode(data)
  } catch (error) {
    expect(error).toBeInstanceOf(SecurityError)
    return (error as Error).message
  }
  throw new Error('it was not refused')
}

test('what is signed comes back, separators in the body included; the signer is named as Celery names it', async () => {
  using folder = new KeyFolder({ alice })
  const auth = await load(folder, alice)
  const value = [[1, 'a\u0000\u0001b', 'ü'], { key: null }, { chord: null }]
  const text = String(auth.encode(value, 'body'))
  expect(auth).toMatchObject({ name: 'auth', contentType: 'application/data', contentEncoding: 'utf-8' })
  expect(auth.decode(text)).toEqual(value)
  expect(auth.decode(Buffer.from(text))).toEqual(value)
  const [signer = ''] = Buffer.from(text, 'base64').toString('latin1').split('\0\x01')
  expect(Buffer.from(signer, 'base64').toString()).toBe('DE Acme, "Söhne" \\ Co. + 1 Ünï 1203540980236390420943580')
})

test.each(['sha224', 'sha384', 'sha512', 'sha3_256'] as const)('digest %s', async (digest) => {
  using folder = new KeyFolder({ alice })
  const auth = await load(folder, alice, { digest })
  expect(auth.decode(auth.encode([1], 'body') as string)).toEqual([1])
  const other = await load(folder, alice)
  expect(refused(other, auth.encode([1], 'body') as string)).toMatch('the signature is not that of its body')
})

test('a changed body, a signature of somebody else and a signature of another message are refused', async () => {
  using folder = new KeyFolder({ alice, mallory })
  const auth = await load(folder, alice)
  const text = auth.encode(['pay', 10], 'body')
  expect(refused(auth, changed(text, { 4: '["pay",1000]' }))).toMatch('the signature is not that of its body')
  const forger = await load(folder, mallory)
  const forged = changed(forger.encode(['pay', 1000], 'body'), { 0: Buffer.from(alice.id).toString('base64') })
  expect(refused(auth, forged)).toMatch(/says that it is signed by ".*", and the signature is not that of its body/)
  const other = auth.encode(['pay', 1000], 'body')
  const [, signature = ''] = Buffer.from(String(other), 'base64').toString('latin1').split('\0\x01')
  expect(refused(auth, changed(text, { 1: signature }))).toMatch('the signature is not that of its body')
  expect(refused(auth, changed(text, { 1: '' }))).toMatch('the signature is not that of its body')
})

test('a signer without a certificate in the store is refused, whatever he calls himself', async () => {
  using folder = new KeyFolder({ alice })
  const forger = await load(folder, mallory)
  expect(refused(forger, forger.encode([1], 'body') as string)).toMatch(
    'signed by "mallory 1", and securityCertStore has no certificate of that name',
  )
  expect(refused(forger, changed(forger.encode([1], 'body'), { 0: Buffer.from('__proto__').toString('base64') }))).toMatch(
    'no certificate of that name',
  )
})

test('a truncated message is refused wherever it ends, as is what is no signed message at all', async () => {
  using folder = new KeyFolder({ alice })
  const auth = await load(folder, alice)
  const raw = Buffer.from(String(auth.encode([1, 2, 3], 'body')), 'base64')
  for (let length = 0; length < raw.length; length += 7)
    expect(refused(auth, raw.subarray(0, length).toString('base64'))).toMatch(/not signed|signature|no certificate/)
  for (const text of ['', '[[], {}, {}]', '\u0000\u0001', 'AAEAAQABAAE=']) expect(refused(auth, text)).toMatch(/not signed|no certificate/)
})

test('a certificate that expires while the worker runs is refused from then on', async () => {
  using folder = new KeyFolder()
  const soon = newIdentity({ keys: alice.keys, validTo: new Date('2030-01-01T00:00:01Z') })
  folder.trust('soon', soon)
  let now = Date.parse('2030-01-01T00:00:00Z')
  const auth = await load(folder, soon, { now: () => now })
  const text = auth.encode([1], 'body') as string
  expect(auth.decode(text)).toEqual([1])
  now += 1_000
  expect(refused(auth, text)).toMatch('whose certificate expired at 2030-01-01T00:00:01.000Z')
})

test('what is signed may still not be of a type that was not chosen', async () => {
  using folder = new KeyFolder({ alice })
  const auth = await load(folder, alice)
  const text = auth.encode([1], 'body')
  for (const type of ['application/x-python-serialize', 'application/data', 'application/x-yaml'])
    expect(() => auth.decode(changed(text, { 2: type }))).toThrow(
      `refusing to decode content of type "${type}"; securityAcceptContent allows: application/json`,
    )
})

test('a key with a password', async () => {
  using folder = new KeyFolder({ alice })
  const pem = alice.keys.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' }).toString()
  const { securityKey: key, securityCertificate: certificate } = folder.signer('locked', { ...alice, key: pem })
  const auth = await load(folder, undefined, { key, certificate, keyPassword: 'secret' })
  expect(auth.decode(auth.encode([1], 'body') as string)).toEqual([1])
  await expect(load(folder, undefined, { key, certificate, keyPassword: 'wrong' })).rejects.toThrow(
    'or securityKeyPassword is not its password',
  )
})

test('one who only verifies needs no key, one who only signs no store', async () => {
  using folder = new KeyFolder({ alice })
  const signer = await load(folder, alice, { certStore: null })
  const reader = await load(folder, undefined)
  expect(reader.decode(signer.encode([1], 'body') as string)).toEqual([1])
  expect(() => reader.encode([1], 'body')).toThrow('needs the options securityKey and securityCertificate')
  expect(refused(signer, signer.encode([1], 'body') as string)).toMatch('securityCertStore: it is not set here')
})

test('files that cannot be used are named, with what is wrong', async () => {
  using folder = new KeyFolder({ alice })
  const { securityKey: key, securityCertificate: certificate } = folder.signer('alice', alice)
  const ec = newIdentity({ keys: generateKeyPairSync('ec', { namedCurve: 'P-256' }) })
  const rows: readonly [Partial<Signing>, string][] = [
    [{ certStore: null }, 'needs securityKey and securityCertificate to sign messages, and securityCertStore to verify them: none is set'],
    [{ key }, 'securityKey is set without securityCertificate'],
    [{ key: '/nowhere.key', certificate }, 'securityKey: /nowhere.key cannot be read'],
    [{ key: certificate, certificate }, 'is not a private key in PEM form'],
    [{ key, certificate: key }, 'is not an X.509 certificate in PEM form'],
    [{ key, certificate: folder.file('mallory.pem', mallory.certificate) }, 'is not the certificate of the key'],
    [{ key, certificate: folder.file('ec.pem', ec.certificate) }, 'a certificate of a key of type ec'],
    [{ certStore: '/nowhere' }, 'securityCertStore: /nowhere cannot be read'],
    [{ certStore: key }, 'is not an X.509 certificate in PEM form'],
    [{ certStore: `${folder.store}/*.crt` }, 'has no certificates in it'],
    [{ now: () => Date.parse('2050-01-01T00:00:00Z') }, 'expired at 2049-12-31T00:00:00.000Z'],
  ]
  for (const [more, message] of rows) await expect(load(folder, undefined, more)).rejects.toThrow(message)
  folder.trust('again', alice)
  await expect(load(folder, undefined)).rejects.toThrow('a second certificate with the name')
  const { certStore: _, ...one } = { certStore: folder.store }
  await expect(load(folder, undefined, { ...one, certStore: `${folder.store}/al*.pem` })).rejects.toThrow('cannot be read')
  expect((await load(folder, undefined, { certStore: `${folder.store}/alice.pem` })).name).toBe('auth')
})
