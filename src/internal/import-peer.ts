import { createRequire } from 'node:module'
import { DriverNotInstalledError } from '../errors.js'

/**
 * Loads an optional package on first use. `Module` is the part of it that is used, typed by structure: the package's own types are not needed to build with celeriac.
 * Throws DriverNotInstalledError, which says what to run, when the package is missing; other errors of its loading pass through.
 */
export async function importPeer<Module>(feature: string, packageName: string): Promise<Module> {
  try {
    // The caller's claim about a package that its own tests run.
    return (await import(packageName)) as Module
  } catch (cause) {
    throw explained(cause, feature, packageName)
  }
}

/**
 * The same for a CommonJS package of many files that a process loads at its start: `import` takes twice the time, because it reads all of them for the
 * names of their exports before it runs the first. Programs that import the package have the same copy of it.
 */
export function requirePeer<Module>(feature: string, packageName: string): Module {
  try {
    return createRequire(import.meta.url)(packageName) as Module // as above
  } catch (cause) {
    throw explained(cause, feature, packageName)
  }
}

function explained(cause: unknown, feature: string, packageName: string): unknown {
  return isMissing(cause, packageName) ? new DriverNotInstalledError(feature, packageName, { cause }) : cause
}

/** The package itself, and not something that it imports. */
function isMissing(error: unknown, packageName: string): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return (error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND') && error.message.includes(`'${packageName}'`)
}
