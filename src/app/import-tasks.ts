import { AppNotFoundError } from '../errors.js'
import type { Config } from './config.js'
import { findFile } from './find-file.js'
import { importModule } from './import-module.js'

/** Imports the modules of `imports` and `include`, which define tasks. Safe twice: a module is loaded once. Throws AppNotFoundError. */
export async function importTasks(
  { imports, include }: Pick<Config, 'imports' | 'include'>,
  { cwd = process.cwd() }: { readonly cwd?: string } = {},
): Promise<void> {
  for (const name of new Set([...imports, ...include])) {
    const file = await findFile(name, cwd)
    if (file === undefined)
      throw new AppNotFoundError(`imports names ${JSON.stringify(name)}, and there is no such file in ${cwd} and no such package.`)
    try {
      await importModule(file)
    } catch (cause) {
      throw new AppNotFoundError(`${name} could not be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    }
  }
}
