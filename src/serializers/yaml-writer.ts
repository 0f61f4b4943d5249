/**
 * Writes YAML 1.1 that PyYAML's safe_load reads as it was meant: flow style, every text in double quotes, so that no `yes`, `1:30` or `0x1f` turns into something else.
 */
import { type Format, fold } from './fold.js'
import { decodeJson } from './json.js'

/** Throws EncodeError with the path of the value, starting at `root`. Keys are sorted, as kombu has them. */
export function writeYaml(value: unknown, root: string): string {
  return `${fold(value, root, format)}\n`
}

const format: Format<string> = {
  scalar(value) {
    if (typeof value === 'string') return quoted(value)
    return typeof value === 'number' ? numberText(value) : String(value)
  },
  bigint: (value) => value.toString(),
  bytes: (value) => `!!binary "${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"`,
  date: (value) => value.toISOString().replace('Z', '+00:00'),
  // JSON is nearly YAML; tags and line breaks within texts are not.
  json: (value) => fold(decodeJson(value.text), 'json', format),
  list: (elements) => `[${elements.join(', ')}]`,
  record: (entries) =>
    `{${[...entries]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(entryText)
      .join(', ')}}`,
}

function entryText([key, text]: readonly [string, string]): string {
  // Without its question mark a key of more than 1024 characters is none, for PyYAML.
  return key.length > 100 ? `? ${quoted(key)} : ${text}` : `${quoted(key)}: ${text}`
}

// What YAML takes for a line break, and what PyYAML refuses to read as it stands. JSON has escaped the others.
const unsafe = /[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]/g

const quoted = (text: string): string =>
  JSON.stringify(text).replace(unsafe, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** A float has a point, also before an exponent; an integer beyond 2^53 is a float in JavaScript and stays one. */
function numberText(value: number): string {
  if (Number.isNaN(value)) return '.nan'
  if (!Number.isFinite(value)) return value > 0 ? '.inf' : '-.inf'
  if (Number.isSafeInteger(value)) return String(value)
  const [mantissa = '', exponent] = String(value).split('e')
  return `${mantissa.includes('.') ? mantissa : `${mantissa}.0`}${exponent === undefined ? '' : `e${exponent}`}`
}
