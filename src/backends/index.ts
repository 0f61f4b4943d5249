/** From a result backend's URL to its driver, which is loaded only then. */
import type { ResultBackend } from '../backend.js'
import { UrlInvalidError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { redactUrl, urlScheme } from '../internal/url.js'

export interface OpenBackendOptions {
  readonly clock: Clock
  /** What relative paths of the URL start from. Default: the working directory. */
  readonly cwd?: string
}

type OpenDriver = (url: string, options: Required<OpenBackendOptions>) => Promise<ResultBackend>

const drivers: Readonly<Record<string, OpenDriver>> = {
  memory: async (url, { clock }) => {
    const { MemoryBackend } = await import('./memory.js')
    return new MemoryBackend(url, { clock })
  },
  sqlite: async (url, options) => {
    const { SqliteBackend } = await import('./sqlite.js')
    return SqliteBackend.open(url, options)
  },
  disabled: async () => {
    const { DisabledBackend } = await import('./disabled.js')
    return new DisabledBackend()
  },
}

/**
 * Opens the backend of a URL: `memory:`, `sqlite:` or `disabled`. Throws UrlInvalidError, which never shows a password, DriverNotInstalledError, or
 * ConnectionError.
 */
export async function openBackend(url: string, { clock, cwd = process.cwd() }: OpenBackendOptions): Promise<ResultBackend> {
  const scheme = url === 'disabled' ? 'disabled' : urlScheme(url)
  const open = scheme === undefined || !Object.hasOwn(drivers, scheme) ? undefined : drivers[scheme]
  if (open === undefined) throw unknownScheme(url, scheme)
  return open(url, { clock, cwd })
}

function unknownScheme(url: string, scheme: string | undefined): UrlInvalidError {
  const known = Object.keys(drivers)
  const suggestion = scheme === undefined ? undefined : didYouMean(scheme, known)
  const hint = suggestion === undefined ? '' : ` Did you mean "${suggestion}:"?`
  return new UrlInvalidError(
    `expected a result backend URL that starts with one of ${known.map((name) => `"${name}:"`).join(', ')}, got: ${JSON.stringify(redactUrl(url))}.${hint}`,
  )
}
