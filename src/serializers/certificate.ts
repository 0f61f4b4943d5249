/** An X.509 certificate as Celery names it: by its issuer and its serial number (celery/security/certificate.py). */
import { type KeyObject, X509Certificate } from 'node:crypto'
import { SecurityError } from '../errors.js'

export class Certificate {
  /** The values of the issuer's attributes in the order of the certificate, and the serial number in decimal: `Acme node1 2181252`. */
  readonly id: string
  readonly publicKey: KeyObject
  readonly #validToMs: number

  /** Throws SecurityError for what is no PEM certificate of an RSA key; `where` is the file it came from. */
  constructor(pem: string | Uint8Array, where: string) {
    let x509: X509Certificate
    try {
      x509 = new X509Certificate(pem)
    } catch (cause) {
      throw new SecurityError(`${where} is not an X.509 certificate in PEM form`, { cause })
    }
    this.publicKey = x509.publicKey
    if (this.publicKey.asymmetricKeyType !== 'rsa')
      throw new SecurityError(
        `${where} is a certificate of a key of type ${this.publicKey.asymmetricKeyType}; Celery signs with RSA keys only`,
      )
    this.id = `${issuerValues(x509.raw, where).join(' ')} ${BigInt(`0x${x509.serialNumber}`)}`
    this.#validToMs = Date.parse(x509.validTo)
  }

  hasExpired(nowMs: number): boolean {
    return nowMs >= this.#validToMs
  }

  /** As ISO text, for messages. */
  get validTo(): string {
    return new Date(this.#validToMs).toISOString()
  }
}

interface Element {
  readonly tag: number
  readonly content: Buffer
  /** Where the next one begins. */
  readonly end: number
}

const sequence = 0x30
const explicitVersion = 0xa0

/**
 * The values of the issuer, read from the certificate itself: Node gives them as text with escapes, and in an order of its own for attributes that stand together.
 * Node has parsed the certificate before, so the elements are whole.
 */
function issuerValues(der: Buffer, where: string): readonly string[] {
  const certificate = elementAt(der, 0)
  const body = elementAt(certificate.content, 0).content
  let at = 0
  const next = (): Element => {
    const element = elementAt(body, at)
    at = element.end
    return element
  }
  // [version], serial number, algorithm, issuer
  if (elementAt(body, 0).tag === explicitVersion) next()
  next()
  next()
  const issuer = next()
  if (issuer.tag !== sequence) throw new SecurityError(`${where} has no issuer where a certificate has it`)
  return elementsOf(issuer.content).flatMap((set) =>
    elementsOf(set.content).map((attribute) => textOf(elementsOf(attribute.content)[1] ?? { tag: 0, content: Buffer.alloc(0), end: 0 })),
  )
}

function elementsOf(content: Buffer): readonly Element[] {
  const elements: Element[] = []
  for (let at = 0; at < content.length; ) {
    const element = elementAt(content, at)
    elements.push(element)
    at = element.end
  }
  return elements
}

/** Tag, length, content: the only forms that names and the way to them are made of. */
function elementAt(data: Buffer, at: number): Element {
  const tag = data.readUInt8(at)
  const first = data.readUInt8(at + 1)
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const length = lengthBytes === 0 ? first : data.readUIntBE(at + 2, lengthBytes)
  const begin = at + 2 + lengthBytes
  return { tag, content: data.subarray(begin, begin + length), end: begin + length }
}

/** Strings of a name, by their tags: BMPString and UniversalString have fixed widths, T61String is read as Latin-1, the others are UTF-8 or a part of it. */
function textOf({ tag, content }: Element): string {
  switch (tag) {
    case 0x1e:
      return Buffer.from(content).swap16().toString('utf16le')
    case 0x1c: {
      const points = Array.from({ length: content.length / 4 }, (_, index) => content.readUInt32BE(index * 4))
      return String.fromCodePoint(...points)
    }
    case 0x14:
      return content.toString('latin1')
    default:
      return content.toString('utf8')
  }
}
