/** From a broker's URL to its driver, which is loaded only then. */
import { UrlInvalidError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { redactUrl, urlScheme } from '../internal/url.js'
import type { Transport } from '../transport.js'

export interface OpenTransportOptions {
  readonly clock: Clock
  /** What relative paths of the URL start from. Default: the working directory. */
  readonly cwd?: string
}

type OpenDriver = (url: string, options: Required<OpenTransportOptions>) => Promise<Transport>

const drivers: Readonly<Record<string, OpenDriver>> = {
  memory: async (url, { clock }) => {
    const { MemoryTransport } = await import('./memory.js')
    return new MemoryTransport(url, { clock })
  },
  sqlite: async (url, options) => {
    const { SqliteTransport } = await import('./sqlite.js')
    return new SqliteTransport(url, options)
  },
}

/** The transport of a broker URL; nothing is connected yet. Throws UrlInvalidError, which never shows a password, or DriverNotInstalledError. */
export async function openTransport(url: string, { clock, cwd = process.cwd() }: OpenTransportOptions): Promise<Transport> {
  const scheme = urlScheme(url)
  const open = scheme === undefined || !Object.hasOwn(drivers, scheme) ? undefined : drivers[scheme]
  if (open === undefined) throw unknownScheme(url, scheme)
  return open(url, { clock, cwd })
}

function unknownScheme(url: string, scheme: string | undefined): UrlInvalidError {
  const known = Object.keys(drivers)
  const suggestion = scheme === undefined ? undefined : didYouMean(scheme, known)
  const hint = suggestion === undefined ? '' : ` Did you mean "${suggestion}:"?`
  return new UrlInvalidError(
    `expected a broker URL that starts with one of ${known.map((name) => `"${name}:"`).join(', ')}, got: ${JSON.stringify(redactUrl(url))}.${hint}`,
  )
}
