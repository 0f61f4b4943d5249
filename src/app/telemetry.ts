import { createRequire } from 'node:module'
import type { AppCore } from './core.js'

/**
 * Turns OpenTelemetry on for one app when it is first asked: a promise while it is loaded, undefined when there is nothing to wait for (any more). Without the
 * package, or with `openTelemetry: false`, all that it costs is this one look.
 */
export function telemetryOf(core: () => AppCore): () => Promise<void> | undefined {
  let isAsked = false
  let opening: Promise<void> | undefined
  return () => {
    if (isAsked) return opening
    isAsked = true
    const { config, hooks, log } = core()
    if (!config.openTelemetry || !isInstalled('@opentelemetry/api')) return undefined
    opening = import('../telemetry/opentelemetry.js')
      .then(async ({ openTelemetry }) => {
        hooks.instrument = await openTelemetry(core())
      })
      // Tasks run without traces rather than not at all.
      .catch((error: unknown) => log.warn({ err: error }, 'OpenTelemetry is installed and could not be loaded: there are no traces'))
      .finally(() => {
        opening = undefined
      })
    return opening
  }
}

function isInstalled(packageName: string): boolean {
  try {
    createRequire(import.meta.url).resolve(packageName)
    return true
  } catch {
    return false
  }
}
