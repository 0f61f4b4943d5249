import { readdirSync, readFileSync } from 'node:fs'
import type { Message } from '../../dist/protocol/message.js'

/** What scripts/record-wire.py wrote: an envelope is a message as kombu puts it on a Redis list. */
interface Envelope {
  body: string
  'content-encoding': string
  'content-type': string
  headers: Record<string, unknown>
  properties: { correlation_id: string; reply_to: string; delivery_mode: number; priority: number; expiration?: string }
}

const folder = (name: string): URL => new URL(`./${name}/`, import.meta.url)
const read = (url: URL): unknown => JSON.parse(readFileSync(url, 'utf8'))

export function envelopes(name: string): Envelope[] {
  return (read(new URL(`${name}.json`, folder('messages'))) as { envelopes: Envelope[] }).envelopes
}

/** The messages of a recording, as a transport hands them over. */
export function messages(name: string): Message[] {
  return envelopes(name).map((envelope) => {
    const bytes = Buffer.from(envelope.body, 'base64')
    const isText = envelope['content-encoding'] === 'utf-8' && envelope.headers.compression === undefined
    const { correlation_id: correlationId, reply_to: replyTo, delivery_mode: deliveryMode, priority, expiration } = envelope.properties
    return {
      body: isText ? bytes.toString('utf8') : bytes,
      contentType: envelope['content-type'],
      contentEncoding: envelope['content-encoding'],
      headers: envelope.headers,
      properties: { correlationId, replyTo, deliveryMode, priority, ...(expiration === undefined ? {} : { expiration }) },
    }
  })
}

export function message(name: string): Message {
  const [first] = messages(name)
  if (first === undefined) throw new Error(`${name} is empty`)
  return first
}

/** A result as it is in the backend. */
export function stored(name: string): string {
  return (read(new URL(`${name}.json`, folder('results'))) as { stored: string }).stored
}

export function recordings(kind: 'messages' | 'results'): string[] {
  return readdirSync(folder(kind)).map((file) => file.replace(/\.json$/, ''))
}
