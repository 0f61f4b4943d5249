/** A message as a transport carries it: serialized body, headers and properties (celery-wire: "Task message", layers). */
export interface Message {
  /** What the serializer (and the compressor) wrote. Text when `contentEncoding` is utf-8 and nothing compressed it. */
  readonly body: string | Uint8Array
  readonly contentType: string
  readonly contentEncoding: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly properties: MessageProperties
}

/** A message that was read. A class, as all that lives as long as a message: see decision 40. */
export class ReadMessage implements Message {
  constructor(
    readonly body: Message['body'],
    readonly contentType: string,
    readonly contentEncoding: string,
    readonly headers: Message['headers'],
    readonly properties: MessageProperties,
  ) {}
}

/** The basic properties of AMQP that Celery uses, in TypeScript's casing. */
export interface MessageProperties {
  readonly correlationId?: string
  readonly replyTo?: string
  /** 2 is persistent, 1 transient. */
  readonly deliveryMode?: number
  readonly priority?: number
  /** Integer milliseconds, as text. */
  readonly expiration?: string
}
