/** The transport options that concern the connection: those of the broker and of the result backend alike. */
import { fields, kind, secondsAbove0, text } from '../option-kinds.js'
import { camelCase, type OptionsOf, type OptionTable, type RefusedOptions } from '../option-table.js'
import { tlsOptions } from '../tls.js'
import type { SentinelAccess, TargetOptions } from './target.js'

const sentinelWords = 'an object with username, password or tls'
const sentinelAccess = kind<SentinelAccess, SentinelAccess>(sentinelWords, (value, option) =>
  fields(value, option, sentinelWords, { username: text, password: text, tls: tlsOptions }),
)

export const linkOptionTable = {
  masterName: {
    kind: text,
    default: undefined,
    sentence: 'The name under which the Sentinels of a `sentinel:` URL know the primary.',
  },
  sentinelKwargs: {
    kind: sentinelAccess,
    default: undefined,
    sentence: 'How the Sentinels themselves are spoken to: `username`, `password` and `tls`.',
  },
  tls: {
    kind: tlsOptions,
    default: undefined,
    sentence:
      'Encrypts the connection, as a `rediss:` URL does: `ca`, `cert`, `key` (PEM, or the path of a file), `passphrase`, `servername`, `rejectUnauthorized`. Wins over parameters of the URL.',
  },
  socketTimeout: {
    kind: secondsAbove0,
    default: 7,
    sentence: 'A connection on which an answer is due for so long is lost.',
  },
  socketConnectTimeout: {
    kind: secondsAbove0,
    default: 1.5,
    sentence: 'How long the network connection to one address may take, TLS included; then the next broker of a list is tried.',
  },
  clientName: {
    kind: text,
    default: undefined,
    sentence: 'The name of the connections in `CLIENT LIST`, instead of one that says what each is for.',
  },
} satisfies OptionTable

export type LinkOptions = OptionsOf<typeof linkOptionTable>

/** kombu's and redis-py's, with what there is instead. */
export const refusedLinkOptions: RefusedOptions = {
  socketKeepalive: 'a silent connection is found by socketTimeout, whatever TCP thinks of it',
  socketKeepaliveOptions: 'a silent connection is found by socketTimeout, whatever TCP thinks of it',
  healthCheckInterval: 'a silent connection is found by socketTimeout',
  retryOnTimeout: 'a lost connection is opened again, and what may be repeated safely is repeated, always',
  retryPolicy: 'a lost connection is opened again, and what may be repeated safely is repeated, always',
  maxConnections: 'there is no pool of connections: a few are enough, since the commands of one moment share a round trip',
  minOtherSentinels: 'the first Sentinel that knows the primary is believed',
  ssl: 'use tls: { ca, cert, key }, or a rediss: URL',
  username: 'it belongs into the URL',
  password: 'it belongs into the URL',
  db: 'it belongs into the URL, after the host',
}

/** In the words of targets. */
export function targetOptions(options: LinkOptions): Omit<TargetOptions, 'clock'> {
  return {
    longestSilenceMs: options.socketTimeout * 1000,
    connectTimeoutMs: options.socketConnectTimeout * 1000,
    masterName: options.masterName,
    sentinel: options.sentinelKwargs,
    clientName: options.clientName,
    tls: options.tls,
  }
}

/** Of one record of options those that concern the connection: a result backend on the broker's server is reached like the broker. */
export function linkOptionsIn(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => {
      const option = camelCase(name)
      return Object.hasOwn(linkOptionTable, option) ? [[option, value]] : []
    }),
  )
}
