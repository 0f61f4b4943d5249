/** The transport options that concern the connection: those of the broker and of the result backend alike. */
import { kind, secondsAbove0, text } from '../option-kinds.js'
import { camelCase, type OptionsOf, type OptionTable, type RefusedOptions } from '../option-table.js'
import { tlsOptions } from '../tls.js'

const heartbeat = kind<number, number>('a whole number of seconds from 0 to 65535', (value) =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65_535 ? Number(value) : undefined,
)

export const amqpLinkTable = {
  tls: {
    kind: tlsOptions,
    default: undefined,
    sentence:
      'Encrypts the connection, as an `amqps:` URL does: `ca`, `cert`, `key` (PEM, or the path of a file), `passphrase`, `servername`, `rejectUnauthorized`. Wins over parameters of the URL.',
  },
  heartbeat: {
    kind: heartbeat,
    default: undefined,
    sentence:
      'Seconds of silence after which a sign of life is sent; a peer that misses two is lost. 0 is none; the server may want it shorter, and by default it decides. Wins over `?heartbeat=` of the URL.',
  },
  socketConnectTimeout: {
    kind: secondsAbove0,
    default: 3,
    sentence: 'How long opening a connection to one server may take, TLS and login included; then the next broker of a list is tried.',
  },
  clientName: {
    kind: text,
    default: undefined,
    sentence: 'The name of the connections in `rabbitmqctl list_connections`, instead of one that says what each is for.',
  },
} satisfies OptionTable

export type AmqpLinkOptions = OptionsOf<typeof amqpLinkTable>

/** kombu's and py-amqp's, with what there is instead. */
export const refusedAmqpLinkOptions: RefusedOptions = {
  readTimeout: 'a silent connection is found by its heartbeat',
  writeTimeout: 'a silent connection is found by its heartbeat',
  socketSettings: 'a silent connection is found by its heartbeat, whatever TCP thinks of it',
  connectTimeout: 'use socketConnectTimeout',
  ssl: 'use tls: { ca, cert, key }, or an amqps: URL',
  loginMethod: 'PLAIN is used, over TLS where the line is not trusted',
  clientProperties: 'they say what the client is; clientName names the connection',
}

/** Of one record of options those that concern the connection: a result backend on the broker's server is reached like the broker. */
export function amqpLinkOptionsIn(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => {
      const option = camelCase(name)
      return Object.hasOwn(amqpLinkTable, option) ? [[option, value]] : []
    }),
  )
}
