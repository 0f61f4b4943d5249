/** Finds the file that a user names: a path with or without its extension, a folder with an index file, or a package. */
import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { transformer } from './import-module.js'

const extensions = ['.ts', '.mts', '.js', '.mjs', '.cts', '.cjs']

/** Absolute; undefined when there is neither such a file nor such a package. */
export async function findFile(path: string, cwd: string): Promise<string | undefined> {
  const asPath = path.startsWith('file:') ? fileURLToPath(path) : resolve(cwd, path)
  const file = isFile(asPath) ? asPath : (withExtension(asPath) ?? withExtension(join(asPath, 'index')))
  return file ?? (isPath(path) ? undefined : resolvePackage(path, cwd))
}

/** False for what may be a package. */
export function isPath(path: string): boolean {
  return path.startsWith('.') || isAbsolute(path) || path.startsWith('file:')
}

export function withExtension(path: string): string | undefined {
  return extensions.map((extension) => path + extension).find(isFile)
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

async function resolvePackage(specifier: string, folder: string): Promise<string | undefined> {
  try {
    return createRequire(`${folder}/package.json`).resolve(specifier)
  } catch {
    // A package for `import` only is invisible to require().
    const from = `${folder}/package.json`
    const url = (await transformer(from)).esmResolve(specifier, { parentURL: pathToFileURL(from), try: true })
    return url === undefined ? undefined : url.startsWith('file:') ? fileURLToPath(url) : url
  }
}
