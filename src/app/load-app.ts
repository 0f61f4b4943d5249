/** Finds the app that a command line names, or the one that a project has where such files usually are. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { AppNotFoundError, CeleriacError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import type { Celeriac } from './app.js'
import { appBrand } from './brand.js'
import { findFile, isPath, withExtension } from './find-file.js'
import { importModule } from './import-module.js'
import { watchLoading } from './load-watch.js'

export interface LoadedApp {
  readonly app: Celeriac
  /** Absolute. */
  readonly file: string
  readonly exportName: string
}

/** Where an app is looked for that was not named, in this order. */
const usualPlaces = ['celeriac.config', 'src/celeriac', 'celeriac', 'tasks', 'app']

/**
 * `spec` is a file (`./app.ts`, `./dist/app`), a package (`@shop/tasks`), or either with the name of an export
 * (`./app.ts:mailer`, or after a `#`). Without it, the
 * project's own choice counts (`"celeriac": { "app": "./src/app.ts" }` in package.json), then the usual places. Throws AppNotFoundError.
 */
export async function loadApp(spec?: string, { cwd = process.cwd() }: { readonly cwd?: string } = {}): Promise<LoadedApp> {
  const { path, exportName } = splitSpec(spec ?? findSpec(cwd))
  const file = await findFile(path, cwd)
  if (file === undefined) {
    const where = isPath(path) ? `no such file in ${cwd}` : `no such file in ${cwd}, and no such package`
    throw new AppNotFoundError(
      `there is no app at ${JSON.stringify(path)}: ${where}. -A takes a file (./src/app.ts), a package, or either with an export (./src/app.ts:app).`,
    )
  }
  const shown = relative(cwd, file)
  let exports: ReadonlyMap<string, unknown>
  try {
    exports = exportsOf(await watchLoading(shown, () => importModule(file)))
  } catch (cause) {
    // An option or a name that the app has wrong: what is to be done about it, its own code says best.
    if (cause instanceof CeleriacError) throw cause
    throw new AppNotFoundError(
      `${shown} could not be loaded: ${cause instanceof Error ? cause.message : String(cause)}${circleHint(cause)}`,
      { cause },
    )
  }
  return { file, ...(exportName === undefined ? onlyApp(exports, shown) : namedApp(exports, exportName, shown)) }
}

/** What Node, and jiti, say of a module that uses the app while that waits for the module. */
function circleHint(cause: unknown): string {
  if (!(cause instanceof Error) || !/before initialization|undefined \(reading 'task'\)/.test(cause.message)) return ''
  return '. It may be imported by a module that it imports itself: let only the modules of tasks import the app, and name them in its option imports.'
}

function splitSpec(spec: string): { readonly path: string; readonly exportName: string | undefined } {
  const match = /^(.+)[:#]([\p{ID_Start}$_][\p{ID_Continue}$]*)$/u.exec(spec)
  return { path: match?.[1] ?? spec, exportName: match?.[2] }
}

function findSpec(cwd: string): string {
  const root = projectRoot(cwd)
  const chosen = root === undefined ? undefined : appOfPackage(join(root, 'package.json'))
  if (root !== undefined && chosen !== undefined) return chosen.startsWith('.') ? resolve(root, chosen) : chosen
  for (const folder of new Set([cwd, root ?? cwd])) {
    for (const place of usualPlaces) {
      const file = withExtension(join(folder, place))
      if (file !== undefined && isOurs(file, place)) return file
    }
  }
  throw new AppNotFoundError(
    `no app was named and none was found. Name it with -A, such as: celeriac -A ./src/app.ts worker. Looked for "celeriac": { "app": … } in package.json, and for ${usualPlaces.map((place) => `${place}.*`).join(', ')} in ${cwd}.`,
  )
}

function projectRoot(folder: string): string | undefined {
  if (existsSync(join(folder, 'package.json'))) return folder
  return dirname(folder) === folder ? undefined : projectRoot(dirname(folder))
}

function appOfPackage(file: string): string | undefined {
  let parsed: { readonly celeriac?: { readonly app?: unknown } | null } | null
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new AppNotFoundError(`${file} cannot be read as JSON. Name the app with -A.`, { cause })
  }
  const app = parsed?.celeriac?.app
  if (app === undefined || typeof app === 'string') return app
  throw new AppNotFoundError(`expected "celeriac": { "app": … } in ${file} to be the path of a file, got: ${JSON.stringify(app)}`)
}

/** A file that is merely called app.js may be a web server, which loading it would start. */
function isOurs(file: string, place: string): boolean {
  return place.includes('celeriac') || /['"]celeriac['"]/.test(readFileSync(file, 'utf8'))
}

/** An app of any copy of celeriac: the methods of it are those of its own copy. */
function isApp(value: unknown): value is Celeriac {
  return typeof value === 'object' && value !== null && Reflect.get(value, appBrand) === true
}

/** A CommonJS file has its exports in `default`, too. */
function exportsOf(module: Readonly<Record<string, unknown>>): ReadonlyMap<string, unknown> {
  const { default: inner } = module
  const ofCommonJs = typeof inner === 'object' && inner !== null && !isApp(inner) ? Object.entries(inner) : []
  return new Map([...ofCommonJs, ...Object.entries(module)])
}

function namedApp(exports: ReadonlyMap<string, unknown>, exportName: string, shown: string): Omit<LoadedApp, 'file'> {
  const app = exports.get(exportName)
  if (isApp(app)) return { app, exportName }
  if (exports.has(exportName))
    throw new AppNotFoundError(`the export ${JSON.stringify(exportName)} of ${shown} is not an app (new Celeriac(...)).`)
  const near = didYouMean(exportName, exports.keys())
  throw new AppNotFoundError(
    `${shown} has no export ${JSON.stringify(exportName)}.${near === undefined ? '' : ` Did you mean ${JSON.stringify(near)}?`} ${listExports(exports)}`,
  )
}

function onlyApp(exports: ReadonlyMap<string, unknown>, shown: string): Omit<LoadedApp, 'file'> {
  const apps = new Map<Celeriac, string>()
  for (const [exportName, value] of exports) if (isApp(value) && !apps.has(value)) apps.set(value, exportName)
  const [first, ...others] = apps
  if (first === undefined) {
    throw new AppNotFoundError(`${shown} exports no app. ${listExports(exports)} Export it: export const app = new Celeriac(...)`)
  }
  if (others.length > 0) {
    const names = [...apps.values()]
    throw new AppNotFoundError(`${shown} exports several apps: ${names.join(', ')}. Say which: -A ./${shown}:${names[0]}`)
  }
  return { app: first[0], exportName: first[1] }
}

function listExports(exports: ReadonlyMap<string, unknown>): string {
  return exports.size === 0 ? 'It exports nothing.' : `Its exports are: ${[...exports.keys()].join(', ')}.`
}
