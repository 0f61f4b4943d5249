import { AppNotFoundError, CeleriacError } from '../errors.js'
import type { Logger } from '../internal/logger.js'
import type { Config } from './config.js'
import { findFile } from './find-file.js'
import type { Hooks } from './hooks.js'
import { importModule } from './import-module.js'

interface Parts {
  readonly config: Pick<Config, 'imports' | 'include'>
  readonly hooks: Hooks
  readonly log: Logger
}

/** Imports the modules of `imports` and `include`, which define tasks. Safe twice: a module is loaded once. Throws AppNotFoundError. */
export async function importTasks(
  { config: { imports, include }, hooks, log }: Parts,
  { cwd = process.cwd() }: { readonly cwd?: string } = {},
): Promise<void> {
  const names = [...new Set([...imports, ...include])]
  hooks.tell('importModules', log, () => ({ names }))
  for (const name of names) {
    const file = await findFile(name, cwd)
    if (file === undefined)
      throw new AppNotFoundError(`imports names ${JSON.stringify(name)}, and there is no such file in ${cwd} and no such package.`)
    try {
      await importModule(file)
    } catch (cause) {
      if (cause instanceof CeleriacError) throw cause
      throw new AppNotFoundError(`${name} could not be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    }
  }
}
