/** Imports a file of the user's: JavaScript, or TypeScript on any version of Node. */
import { pathToFileURL } from 'node:url'

/** What Node's own type stripping cannot do: enums, `./x.js` for a file x.ts, TypeScript in node_modules. Node says so before it runs anything. */
const notForNode: ReadonlySet<unknown> = new Set([
  'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX',
  'ERR_MODULE_NOT_FOUND',
  'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING',
])

/**
 * The exports of the file at an absolute path. A file is loaded once in a process, however often it is asked for. TypeScript goes through Node where
 * Node strips types, and through jiti otherwise; both import packages natively, so that the app and its worker share one copy of celeriac.
 */
export async function importModule(file: string): Promise<Readonly<Record<string, unknown>>> {
  if (!/\.[cm]?tsx?$/.test(file)) return import(pathToFileURL(file).href)
  // Not in the types of Node 20; 'strip' or 'transform' where types are stripped.
  if (Reflect.get(process.features, 'typescript')) {
    try {
      return await import(pathToFileURL(file).href)
    } catch (error) {
      if (!(error instanceof Error) || !notForNode.has(Reflect.get(error, 'code'))) throw error
    }
  }
  return (await transformer(file)).import<Readonly<Record<string, unknown>>>(file)
}

/** Reads TypeScript, and resolves as `import` does. */
export async function transformer(from: string) {
  const { createJiti } = await import('jiti')
  // Exports as they are: a proxy around them would make apps that are the same look different.
  return createJiti(pathToFileURL(from).href, { interopDefault: false })
}
